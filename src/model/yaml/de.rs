//! Turns a tree into values. What is generic here is in the program once for every type that is read, and
//! so is kept small.

use std::slice;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor};

use super::error::Error;
use super::scalar::{self, Integer};
use super::spanned;
use super::table;
use super::tree::{Kind, Node, Tag};

type Result<T> = std::result::Result<T, Error>;

/// What a value is when the text alone decides.
enum Plain<'a> {
    Null,
    Bool(bool),
    Integer(Integer),
    Float(f64),
    Text(&'a str),
    Sequence(&'a [Node]),
    Mapping(&'a [(Node, Node)]),
}

impl Node {
    #[cold]
    fn mismatch(&self, expected: &dyn Expected) -> Error {
        let unexpected = match &self.resolved().kind {
            _ if self.is_null() => Unexpected::Unit,
            Kind::Scalar { text, .. } => Unexpected::Str(text),
            Kind::Sequence(_) => Unexpected::Seq,
            _ => Unexpected::Map,
        };
        Error::mismatch(&unexpected, expected)
    }

    /// The text of a scalar whose tag allows `tag`.
    fn scalar(&self, tag: Tag) -> Option<&str> {
        let node = self.resolved();
        match &node.kind {
            Kind::Scalar { text, .. } => match node.tag {
                Tag::Null | Tag::Bool | Tag::Int | Tag::Float | Tag::Text if node.tag != tag => None,
                Tag::Timestamp if tag == Tag::Text => None,
                _ => Some(text),
            },
            _ => None,
        }
    }

    pub(super) fn text(&self, expected: &dyn Expected) -> Result<&str> {
        self.scalar(Tag::Text).filter(|_| !self.is_null()).ok_or_else(|| self.mismatch(expected))
    }

    fn boolean(&self, expected: &dyn Expected) -> Result<bool> {
        let text = self.scalar(Tag::Bool);
        let plain = matches!(self.resolved().kind, Kind::Scalar { plain: true, .. });
        let old = || text.filter(|_| plain).and_then(scalar::old_boolean);
        text.and_then(scalar::boolean).or_else(old).ok_or_else(|| self.mismatch(expected))
    }

    fn integer(&self, expected: &dyn Expected) -> Result<Integer> {
        self.scalar(Tag::Int).and_then(scalar::integer).ok_or_else(|| self.mismatch(expected))
    }

    fn float(&self, expected: &dyn Expected) -> Result<f64> {
        self.scalar(Tag::Float).and_then(scalar::float).ok_or_else(|| self.mismatch(expected))
    }

    pub(super) fn items(&self, expected: &dyn Expected) -> Result<&[Node]> {
        match &self.resolved().kind {
            Kind::Sequence(items) => Ok(items),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.mismatch(expected)),
        }
    }

    pub(super) fn entries(&self, expected: &dyn Expected) -> Result<&[(Self, Self)]> {
        match &self.resolved().kind {
            Kind::Mapping(entries) => Ok(entries),
            _ if self.is_null() => Ok(&[]),
            _ => Err(self.mismatch(expected)),
        }
    }

    fn plain(&self, expected: &dyn Expected) -> Result<Plain<'_>> {
        let node = self.resolved();
        let (text, plain) = match &node.kind {
            Kind::Sequence(items) => return Ok(Plain::Sequence(items)),
            Kind::Mapping(entries) => return Ok(Plain::Mapping(entries)),
            Kind::Scalar { text, plain } => (text, *plain),
            Kind::Shared(_) => return Err(self.mismatch(expected)),
        };
        match node.tag {
            _ if self.is_null() => return Ok(Plain::Null),
            Tag::Bool => return self.boolean(expected).map(Plain::Bool),
            Tag::Int => return self.integer(expected).map(Plain::Integer),
            Tag::Float => return self.float(expected).and_then(finite),
            Tag::Text => return Ok(Plain::Text(text)),
            Tag::Timestamp => return Err(self.mismatch(expected)),
            _ if !plain => return Ok(Plain::Text(text)),
            _ => {}
        }
        if let Some(value) = scalar::boolean(text) {
            return Ok(Plain::Bool(value));
        }
        if let Some(value) = scalar::integer(text) {
            return Ok(Plain::Integer(value));
        }
        match scalar::float(text) {
            Some(value) => finite(value),
            None if scalar::overflows(text) => finite(f64::INFINITY),
            None => Ok(Plain::Text(text)),
        }
    }
}

/// Where any type would do, infinity and NaN are most likely mistakes.
fn finite(value: f64) -> Result<Plain<'static>> {
    if value.is_finite() {
        return Ok(Plain::Float(value));
    }
    Err(de::Error::custom("a number that is not finite is not allowed here"))
}

fn visit_integer<'de, V: Visitor<'de>>(value: Integer, visitor: V) -> Result<V::Value> {
    match value {
        Integer::Signed(value) => visitor.visit_i64(value),
        Integer::Unsigned(value) => visitor.visit_u64(value),
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let value = self.integer(&visitor)?;
            visit_integer(value, visitor)
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let value = self.text(&visitor)?;
            visitor.visit_str(value)
        }
    )*};
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.plain(&visitor)? {
            Plain::Null => visitor.visit_unit(),
            Plain::Bool(value) => visitor.visit_bool(value),
            Plain::Integer(value) => visit_integer(value, visitor),
            Plain::Float(value) => visitor.visit_f64(value),
            Plain::Text(text) => visitor.visit_str(text),
            Plain::Sequence(items) => visitor.visit_seq(Items(items.iter())),
            Plain::Mapping(entries) => visitor.visit_map(Entries::new(entries)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.boolean(&visitor)?;
        visitor.visit_bool(value)
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.float(&visitor)?;
        visitor.visit_f64(value)
    }

    texts! { deserialize_char deserialize_str deserialize_string deserialize_identifier }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let value = self.text(&visitor)?;
        visitor.visit_bytes(value.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.is_null() { visitor.visit_unit() } else { Err(self.mismatch(&visitor)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if name == spanned::MARK {
            spanned::hand(self.place, self.defined);
        } else if name == table::MARK {
            table::hand(self);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let items = self.items(&visitor)?;
        visitor.visit_seq(Items(items.iter()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let entries = self.entries(&visitor)?;
        visitor.visit_map(Entries::new(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let entries = self.entries(&visitor)?;
        visitor.visit_map(Entries { fields, ..Entries::new(entries) })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match &self.resolved().kind {
            Kind::Mapping(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(entries)))
            }
            Kind::Scalar { text, .. } => visitor.visit_enum(StrDeserializer::new(text)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 }
}

struct Items<'a>(slice::Iter<'a, Node>);

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|e| e.or_at(node.place))
    }
}

struct Entries<'a> {
    rest: slice::Iter<'a, (Node, Node)>,
    value: Option<&'a Node>,
    /// The fields of a struct: one that is there and empty counts as left out, as Prometheus takes it.
    fields: &'static [&'static str],
}

impl<'a> Entries<'a> {
    fn new(entries: &'a [(Node, Node)]) -> Self {
        Self { rest: entries.iter(), value: None, fields: &[] }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let fields = self.fields;
        let left_out = |key: &Node, value: &Node| {
            value.is_null() && key.scalar(Tag::Text).is_some_and(|name| fields.contains(&name))
        };
        let Some((key, value)) = self.rest.find(|(key, value)| !left_out(key, value)) else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(key).map(Some).map_err(|e| e.or_at(key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        // serde's contract is a key before each value.
        let Some(node) = self.value.take() else { return Err(de::Error::custom("a value without a key")) };
        seed.deserialize(node).map_err(|e| e.or_at(node.place))
    }
}
