//! html mode: each value is escaped for the place in the page where it lands.
//!
//! The page's text is followed while it is written (tags, attributes, scripts, styles, comments), so
//! that templates that call each other need no analysis beforehand.

use super::functions::{html_escape, js_escape};
use super::value::{SafeKind, Value};

/// What stands for a value that cannot be made safe where it is.
const FILTERED: &str = "ZgotmplZ";

/// Attributes whose value is a URL.
const URL_ATTRIBUTES: [&str; 16] = [
    "action",
    "archive",
    "background",
    "cite",
    "classid",
    "codebase",
    "data",
    "formaction",
    "href",
    "icon",
    "longdesc",
    "manifest",
    "poster",
    "profile",
    "src",
    "usemap",
];

#[derive(Debug, Clone, PartialEq, Default)]
enum Place {
    #[default]
    Text,
    /// Behind `<` or `</`, in the name.
    TagName(String),
    /// Inside a tag, between attributes.
    Tag,
    AttributeName(String),
    /// Behind an attribute's name, before `=`.
    AfterName(String),
    /// Behind `=`.
    BeforeValue(String),
    Value(Attribute),
    Comment,
    /// In `script`, `style`, `textarea`, `title`: up to the end tag.
    Raw(String),
}

#[derive(Debug, Clone, PartialEq)]
struct Attribute {
    /// The quote that ends it; none when it ends at white space.
    quote: Option<char>,
    kind: AttributeKind,
    /// What of the value was written so far.
    so_far: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum AttributeKind {
    Plain,
    Url,
    Script,
    Style,
}

/// Follows a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    place: Place,
    /// The name of the open tag, for the raw elements.
    tag: String,
}

/// Names and values are remembered up to this length only.
const REMEMBERED: usize = 256;

fn remember(text: &mut String, c: char) {
    if text.len() < REMEMBERED {
        text.push(c);
    }
}

impl Page {
    /// Follows the template's own text; what is to be written of it: everything but comments.
    pub fn text(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if self.place == Place::Text && rest.starts_with("<!--") {
                self.place = Place::Comment;
                rest = &rest[4..];
                continue;
            }
            if self.place == Place::Comment {
                match rest.find("-->") {
                    Some(end) => {
                        self.place = Place::Text;
                        rest = &rest[end + 3..];
                    }
                    None => return out,
                }
                continue;
            }
            self.step(c, rest);
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
        out
    }

    fn step(&mut self, c: char, rest: &str) {
        let place = std::mem::take(&mut self.place);
        self.place = match place {
            Place::Text if c == '<' => {
                let next = rest[1..].chars().next().unwrap_or_default();
                if next.is_ascii_alphabetic() || next == '/' {
                    Place::TagName(String::new())
                } else {
                    Place::Text
                }
            }
            Place::Raw(tag) => {
                let closes = rest.strip_prefix("</").and_then(|r| r.get(..tag.len()));
                if closes.is_some_and(|name| name.eq_ignore_ascii_case(&tag)) {
                    Place::TagName(String::new())
                } else {
                    Place::Raw(tag)
                }
            }
            Place::TagName(mut name) => match c {
                '>' => {
                    self.tag = name;
                    self.open()
                }
                c if c.is_ascii_whitespace() => {
                    self.tag = name;
                    Place::Tag
                }
                c => {
                    remember(&mut name, c.to_ascii_lowercase());
                    Place::TagName(name)
                }
            },
            Place::Tag | Place::AfterName(_) if c == '>' => self.open(),
            Place::Tag if c.is_ascii_whitespace() || c == '/' => Place::Tag,
            Place::Tag => Place::AttributeName(c.to_ascii_lowercase().to_string()),
            Place::AttributeName(mut name) => match c {
                '=' => Place::BeforeValue(name),
                '>' => self.open(),
                c if c.is_ascii_whitespace() => Place::AfterName(name),
                c => {
                    remember(&mut name, c.to_ascii_lowercase());
                    Place::AttributeName(name)
                }
            },
            Place::AfterName(name) => match c {
                '=' => Place::BeforeValue(name),
                c if c.is_ascii_whitespace() => Place::AfterName(name),
                c => Place::AttributeName(c.to_ascii_lowercase().to_string()),
            },
            Place::BeforeValue(name) => match c {
                '>' => self.open(),
                c if c.is_ascii_whitespace() => Place::BeforeValue(name),
                '"' | '\'' => Place::Value(attribute(&name, Some(c))),
                c => {
                    let mut value = attribute(&name, None);
                    value.so_far.push(c);
                    Place::Value(value)
                }
            },
            Place::Value(mut value) => match (value.quote, c) {
                (Some(quote), c) if c == quote => Place::Tag,
                (None, '>') => self.open(),
                (None, c) if c.is_ascii_whitespace() => Place::Tag,
                (_, c) => {
                    remember(&mut value.so_far, c);
                    Place::Value(value)
                }
            },
            place => place,
        };
    }

    /// Behind the `>` of a tag.
    fn open(&mut self) -> Place {
        let tag = std::mem::take(&mut self.tag);
        match tag.as_str() {
            "script" | "style" | "textarea" | "title" => Place::Raw(tag),
            _ => Place::Text,
        }
    }

    /// A value as it is to be written here; `text` is its plain text.
    pub fn value(&mut self, value: &Value, text: &str) -> String {
        if matches!(value, Value::Nil) && !matches!(&self.place, Place::Raw(tag) if tag == "script") {
            return String::new();
        }
        if let Place::BeforeValue(name) = &self.place {
            self.place = Place::Value(attribute(name, None));
        }
        match &mut self.place {
            Place::Text => match value {
                Value::Safe(SafeKind::Html, html) => self.text(html),
                _ => escape(text),
            },
            Place::Comment => String::new(),
            Place::Raw(tag) => match tag.as_str() {
                "script" => script_value(value, text),
                "style" => style_value(text),
                _ => escape(text),
            },
            Place::Value(attribute) => attribute_value(attribute, value, text),
            // A value as the name of a tag or an attribute.
            Place::TagName(_)
            | Place::Tag
            | Place::AttributeName(_)
            | Place::AfterName(_)
            | Place::BeforeValue(_) => {
                let harmless = !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && attribute(text, None).kind == AttributeKind::Plain;
                if harmless { text.to_owned() } else { FILTERED.to_owned() }
            }
        }
    }
}

fn attribute(name: &str, quote: Option<char>) -> Attribute {
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("data-").unwrap_or(&name);
    let kind = if name.starts_with("on") {
        AttributeKind::Script
    } else if name == "style" {
        AttributeKind::Style
    } else if URL_ATTRIBUTES.contains(&name)
        || name.contains("src")
        || name.contains("uri")
        || name.contains("url")
    {
        AttributeKind::Url
    } else {
        AttributeKind::Plain
    };
    Attribute { quote, kind, so_far: String::new() }
}

fn attribute_value(attribute: &mut Attribute, value: &Value, text: &str) -> String {
    let raw = match attribute.kind {
        AttributeKind::Plain => match value {
            Value::Safe(SafeKind::Html, html) => strip_tags(html),
            _ => text.to_owned(),
        },
        AttributeKind::Script => script_value(value, text),
        AttributeKind::Style => style_value(text),
        AttributeKind::Url => url_value(&attribute.so_far, value, text),
    };
    for c in raw.chars() {
        remember(&mut attribute.so_far, c);
    }
    if attribute.so_far.is_empty() {
        // Go takes what follows a value for the inside of the URL, even if the value was empty.
        attribute.so_far.push(' ');
    }
    let escaped = escape(&raw);
    if attribute.quote.is_some() {
        return escaped;
    }
    let mut out = String::with_capacity(escaped.len());
    for c in escaped.chars() {
        match c {
            c if c.is_ascii_whitespace() || matches!(c, '=' | '`') => out += &format!("&#{};", c as u32),
            c => out.push(c),
        }
    }
    out
}

/// Escapes as html/template does in text and quoted attributes.
fn escape(text: &str) -> String {
    html_escape(text).replace('+', "&#43;")
}

fn strip_tags(html: &str) -> String {
    let mut inside = false;
    html.chars()
        .filter(|c| match c {
            '<' => {
                inside = true;
                false
            }
            '>' if inside => {
                inside = false;
                false
            }
            _ => !inside,
        })
        .collect()
}

fn url_value(so_far: &str, value: &Value, text: &str) -> String {
    let trusted = matches!(value, Value::Safe(SafeKind::Url, _));
    let in_query = so_far.contains(['?', '#']);
    if so_far.trim_start().is_empty() && so_far.is_empty() && !trusted && !has_safe_scheme(text) {
        return format!("#{FILTERED}");
    }
    let keep_reserved = trusted || !in_query;
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 8);
    for (i, &b) in bytes.iter().enumerate() {
        let keeps = match b {
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'#' | b'$' | b'&' | b'*' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@'
            | b'[' | b']' => keep_reserved,
            b'%' => {
                keep_reserved && bytes.get(i + 1..i + 3).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit))
            }
            b => b.is_ascii_alphanumeric(),
        };
        if keeps {
            out.push(char::from(b));
        } else {
            out += &format!("%{b:02x}");
        }
    }
    out
}

/// A URL without a scheme, or with one that runs nothing.
fn has_safe_scheme(url: &str) -> bool {
    match url.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
        }
        _ => true,
    }
}

/// A literal of JavaScript.
fn script_value(value: &Value, text: &str) -> String {
    match value {
        Value::Nil => " null ".to_owned(),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => format!(" {text} "),
        Value::Float(f) if f.is_finite() => format!(" {text} "),
        _ => format!("\"{}\"", js_escape(text)),
    }
}

/// A word of CSS, nothing that ends a declaration or calls anything.
fn style_value(text: &str) -> String {
    let harmless = text.chars().all(|c| c.is_alphanumeric() || " #%.,-_!".contains(c));
    if harmless && !text.to_ascii_lowercase().contains("expression") {
        text.to_owned()
    } else {
        FILTERED.to_owned()
    }
}
