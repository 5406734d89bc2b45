//! Alertmanager's receiver kinds: their keys, and what must hold among them.
//!
//! Every kind is read and checked, whether it can be sent or not, so that an existing file is judged as
//! Alertmanager judges it.

use super::scalar::{Bool, HostPort, SecretUrl, Url};
use super::{Global, IntegrationConfig};
use crate::model::Secret;
use crate::model::yaml::{Key, from_yaml_by_serde};
use crate::net::http::HttpClientConfig;

/// Text that a template may be in.
pub(super) type Text = Option<String>;
/// The name of a file.
pub(super) type File = Option<String>;
/// A list with entries that YAML may have left empty.
type List<T> = Option<Vec<T>>;

/// Defines a kind: every key optional, unknown ones refused; its texts and secrets can be visited.
macro_rules! kind {
    ($(#[$meta:meta])* $name:ident { $($field:ident $(| $other:ident)? : $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name {
            $(pub $field: $type,)*
        }

        impl $crate::model::yaml::FromYaml for $name {
            fn from_yaml(node: &$crate::model::yaml::Node) -> Result<Self, $crate::model::yaml::Error> {
                let mut read = Self::default();
                let keys: &mut [(_, &mut dyn $crate::model::yaml::Key)] = &mut [
                    $((key_name(concat!(stringify!($field) $(, "|", stringify!($other))?)), &mut read.$field),)*
                ];
                $crate::model::yaml::read_keys(node, keys, &[])?;
                Ok(read)
            }
        }

        impl $crate::paging::config::visit::Visit for $name {
            fn visit(&self, place: &str, see: $crate::paging::config::visit::See<'_>) {
                let keys: &[(_, &dyn $crate::paging::config::visit::Visit)] = &[
                    $((key_name(stringify!($field)), &self.$field),)*
                ];
                for (key, value) in keys {
                    $crate::paging::config::visit::below(*value, place, key, see);
                }
            }
        }
    };
}

pub(super) use kind;

/// The name of a key: `type` is a field `r#type`.
pub(super) const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// The keys that all kinds have, and their check.
pub trait Kind: super::visit::Visit + Key {
    /// The key under which the file has it, without `_configs`.
    fn name(&self) -> &'static str;

    /// Is a resolved group told of? `None`: the file does not say.
    fn send_resolved(&self) -> Option<Bool>;

    /// The HTTP client's section; `None` for a kind that speaks no HTTP.
    fn http_config(&self) -> Option<&Option<HttpClientConfig>>;

    /// Is a resolved group told of when the file does not say?
    fn sends_resolved(&self) -> bool {
        true
    }

    /// May the entry be empty (everything can come from the global section)?
    fn may_be_empty(&self) -> bool {
        false
    }

    /// Checks the keys against each other, and takes what is missing from `global`.
    ///
    /// # Errors
    /// A sentence with the keys.
    fn check(&mut self, global: &Global) -> Result<(), String>;

    /// What to send with.
    fn into_integration(self: Box<Self>) -> IntegrationConfig;

    /// Why it cannot be sent to, though its kind can; asked after the check.
    fn cannot_send(&self) -> Option<String> {
        None
    }
}

macro_rules! common {
    ($name:literal, $variant:ident, http) => {
        common!($name, $variant);
        fn http_config(&self) -> Option<&Option<HttpClientConfig>> {
            Some(&self.http_config)
        }
    };
    ($name:literal, $variant:ident, no_http) => {
        common!($name, $variant);
        fn http_config(&self) -> Option<&Option<HttpClientConfig>> {
            None
        }
    };
    ($name:literal, CannotSend) => {
        common!($name);
        fn into_integration(self: Box<Self>) -> IntegrationConfig {
            let why = "no sender for this kind; use alertmanager_configs to an Alertmanager that has it";
            IntegrationConfig::CannotSend(why.to_owned())
        }
    };
    ($name:literal, $variant:ident) => {
        common!($name);
        fn into_integration(self: Box<Self>) -> IntegrationConfig {
            IntegrationConfig::$variant(self)
        }
    };
    ($name:literal) => {
        fn name(&self) -> &'static str {
            $name
        }
        fn send_resolved(&self) -> Option<Bool> {
            self.send_resolved
        }
    };
}

pub(super) fn set(text: &Text) -> bool {
    text.as_ref().is_some_and(|t| !t.is_empty())
}

pub(super) fn secret(value: &Option<Secret>) -> bool {
    value.as_ref().is_some_and(|s| !s.is_empty())
}

/// At most one of two ways to give a value.
fn one_way(a: bool, b: bool, names: &str) -> Result<(), String> {
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

from_yaml_by_serde! { Bool Url SecretUrl HostPort HttpClientConfig }

mod checked;
mod sent;

pub use checked::*;
pub use sent::*;
