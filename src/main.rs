//! The `sideband` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    sideband::cli::main()
}
