//! Alertmanager's receiver kinds: their keys, and what must hold among them.
//!
//! Every kind is read and checked, whether it can be sent or not, so that an existing file is judged as
//! Alertmanager judges it.

use super::Global;
use super::scalar::Bool;
use crate::model::Secret;
use crate::net::http::HttpClientConfig;

/// Text that a template may be in.
type Text = Option<String>;
/// The name of a file.
type File = Option<String>;
/// A list with entries that YAML may have left empty.
type List<T> = Option<Vec<T>>;

/// Defines a kind: every key optional, unknown ones refused; its texts and secrets can be visited.
macro_rules! kind {
    ($(#[$meta:meta])* $name:ident { $($(#[$key:meta])* $field:ident : $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$key])* pub $field: $type,)*
        }

        impl $crate::paging::config::visit::Visit for $name {
            fn visit(&self, place: &str, see: $crate::paging::config::visit::See<'_>) {
                $($crate::paging::config::visit::below(&self.$field, place, stringify!($field), see);)*
            }
        }
    };
}

/// The keys that all kinds have, and their check.
pub trait Kind: super::visit::Visit {
    /// The key under which the file has it, without `_configs`.
    const NAME: &'static str;
    /// Is a resolved group told of when the file does not say?
    const SEND_RESOLVED: bool = true;
    /// May the entry be empty (everything can come from the global section)?
    const MAY_BE_EMPTY: bool = false;

    fn send_resolved(&self) -> Option<Bool>;
    fn http_config(&mut self) -> Option<&mut Option<HttpClientConfig>>;

    /// Checks the keys against each other, and takes what is missing from `global`.
    ///
    /// # Errors
    /// A sentence with the keys.
    fn check(&mut self, global: &Global) -> Result<(), String>;

    /// Why it cannot be sent to, though its kind can; asked after the check.
    fn cannot_send(&self) -> Option<String> {
        None
    }
}

macro_rules! common {
    (http) => {
        fn send_resolved(&self) -> Option<Bool> {
            self.send_resolved
        }
        fn http_config(&mut self) -> Option<&mut Option<HttpClientConfig>> {
            Some(&mut self.http_config)
        }
    };
    (no_http) => {
        fn send_resolved(&self) -> Option<Bool> {
            self.send_resolved
        }
        fn http_config(&mut self) -> Option<&mut Option<HttpClientConfig>> {
            None
        }
    };
}

fn set(text: &Text) -> bool {
    text.as_ref().is_some_and(|t| !t.is_empty())
}

fn secret(value: &Option<Secret>) -> bool {
    value.as_ref().is_some_and(|s| !s.is_empty())
}

/// At most one of two ways to give a value.
pub(in crate::paging::config) fn one_way(a: bool, b: bool, names: &str) -> Result<(), String> {
    if a && b { Err(format!("at most one of {names} must be configured")) } else { Ok(()) }
}

/// Takes the global pair when there is neither here; an error when there is none anywhere.
fn inherit<A: Clone, B: Clone>(
    here: (&mut Option<A>, &mut Option<B>),
    global: (&Option<A>, &Option<B>),
    given: (bool, bool),
    missing: &str,
) -> Result<(), String> {
    if given.0 || given.1 {
        return Ok(());
    }
    here.0.clone_from(global.0);
    here.1.clone_from(global.1);
    if here.0.is_none() && here.1.is_none() { Err(missing.to_owned()) } else { Ok(()) }
}

mod checked;
mod sent;

pub use checked::*;
pub use sent::*;
