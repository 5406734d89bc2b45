//! `sideband_build_info`: which build this is.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The version of the crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision it was built from, when the build set `SIDEBAND_REVISION`.
pub const REVISION: &str = match option_env!("SIDEBAND_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Registers `sideband_build_info{version,revision,target_arch,target_os}` with the value 1.
pub fn register_build_info(registry: &mut Registry) {
    let info = Info::new(vec![
        ("version", VERSION),
        ("revision", REVISION),
        ("target_arch", std::env::consts::ARCH),
        ("target_os", std::env::consts::OS),
    ]);
    registry.register("sideband_build", "Which build of sideband is running", info);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_label() {
        let mut registry = Registry::default();
        register_build_info(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(&format!("sideband_build_info{{version=\"{VERSION}\"")), "{text}");
    }
}
