//! The keys of a rule file with their places; nothing is judged here but the shape.
//!
//! Unknown keys are collected and not refused at once, so that all of them are reported together with
//! everything else.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::model::yaml::Spanned;
use crate::sigma::{AfterPage, Band, BaselineConfig};

/// A text and its place. Numbers are taken as they are written.
pub(super) type Text = Spanned<String>;

/// A text that may be left empty (`for:`), which is the same as leaving it out.
type Maybe = Option<Text>;

/// Names and texts in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Pairs(pub Vec<(Text, Text)>);

/// A key that nobody knows.
pub(super) type Unknown = Text;

macro_rules! keys {
    ($(#[$doc:meta])* $name:ident, $expecting:literal { $($field:ident: $kind:ty = $key:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $(pub $field: $kind,)*
            pub unknown: Vec<Unknown>,
            /// Keys that are there twice.
            pub repeated: Vec<Unknown>,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Keys;
                impl<'de> Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_unit<E>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut out = $name::default();
                        let mut seen: Vec<String> = Vec::new();
                        while let Some(key) = map.next_key::<Text>()? {
                            if seen.contains(&key.value) {
                                out.repeated.push(key);
                                map.next_value::<IgnoredAny>()?;
                                continue;
                            }
                            match key.value.as_str() {
                                $($key => out.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                    out.unknown.push(key);
                                    continue;
                                }
                            }
                            seen.push(key.value);
                        }
                        Ok(out)
                    }
                }
                deserializer.deserialize_any(Keys)
            }
        }
    };
}

keys! {
    /// The file.
    File, "a mapping with the key groups" {
        groups: Option<Vec<Spanned<Group>>> = "groups",
    }
}

keys! {
    /// A group.
    Group, "a rule group" {
        name: Maybe = "name",
        interval: Maybe = "interval",
        query_offset: Maybe = "query_offset",
        limit: Maybe = "limit",
        labels: Option<Pairs> = "labels",
        rules: Option<Vec<Spanned<Rule>>> = "rules",
    }
}

keys! {
    /// A rule of any kind.
    Rule, "a rule" {
        record: Maybe = "record",
        alert: Maybe = "alert",
        sigma: Maybe = "sigma",
        expr: Maybe = "expr",
        hold: Maybe = "for",
        keep_firing_for: Maybe = "keep_firing_for",
        labels: Option<Pairs> = "labels",
        annotations: Option<Pairs> = "annotations",
        baseline: Option<Spanned<BaselineConfig>> = "baseline",
        direction: Maybe = "direction",
        min_deviation: Maybe = "min_deviation",
        bands: Option<Spanned<Vec<Spanned<Band>>>> = "bands",
        clear_sigma: Maybe = "clear_sigma",
        page_budget: Maybe = "page_budget",
        judge: Maybe = "judge",
        after_page: Option<Spanned<AfterPage>> = "after_page",
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys(PhantomData<()>);
        impl<'de> Visitor<'de> for Keys {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names to texts")
            }

            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut out = Pairs::default();
                while let Some(key) = map.next_key::<Text>()? {
                    out.0.push((key, map.next_value_seed(EmptyIsText)?));
                }
                Ok(out)
            }
        }
        deserializer.deserialize_any(Keys(PhantomData))
    }
}

/// An empty value is the empty text.
struct EmptyIsText;

impl<'de> DeserializeSeed<'de> for EmptyIsText {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        let spanned = Spanned::<Option<String>>::deserialize(deserializer)?;
        Ok(Spanned::new(spanned.value.unwrap_or_default(), spanned.referenced, spanned.defined))
    }
}
