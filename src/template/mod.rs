//! Templates of rules and messages: the part of Go's text/template and html/template that
//! Prometheus rules and Alertmanager messages use, with the functions of both.
//!
//! A template is read once ([`Template::parse`]); unknown functions and variables are found then. It
//! runs ([`Template::run`]) within bounds of depth, steps and output, and cannot panic: an error is a
//! text, and the caller decides what stands in its place.

mod ast;
mod exec;
mod fields;
mod functions;
mod html;
mod lexer;
mod message;
mod parser;
mod print;
mod time;
mod value;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Labels, Timestamp};

use ast::{Definition, Node, Source};
pub use functions::Dialect;
pub use message::{MessageAlert, MessageData};
pub use time::{Calendar, Time, duration_text};
pub use value::{Field, List, ListKind, Map, MapKind, SafeKind, Struct, Value};

/// The longest template text, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

type Definitions = HashMap<String, Definition>;

/// Where a text cannot be read as a template, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParseError {
    offset: usize,
    message: String,
}

/// Why a template cannot be read or run, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template. Lines count from 1, columns (characters) from 1.
    #[error("template: {name}:{line}: {message}")]
    Parse { name: String, line: usize, column: usize, message: String },
    /// It ran into an error.
    #[error("{0}")]
    Run(String),
}

struct ExecError {
    message: String,
}

/// Does the output escape what it inserts?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing is escaped.
    #[default]
    Text,
    /// A page: values are escaped for the place where they land.
    Html,
}

/// What an absent key of a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// The empty text for labels, `<no value>` otherwise.
    #[default]
    Zero,
    /// An error.
    Error,
}

/// The function `query` of rule templates.
pub trait Query {
    /// Evaluates an expression at `t` (ms).
    ///
    /// # Errors
    /// A text that says why there is no result.
    fn query(&self, expr: &str, t: Timestamp) -> Result<Vec<(Labels, f64)>, String>;
}

/// What a template sees beside its data.
#[derive(Clone, Copy, Default)]
pub struct Env<'a> {
    pub mode: Mode,
    pub missing_key: MissingKey,
    /// The time of `now` and `since`, and at which `query` evaluates, ms.
    pub now: Timestamp,
    /// For `externalURL` and `pathPrefix`.
    pub external_url: &'a str,
    /// For `query`; without it the function is an error.
    pub query: Option<&'a dyn Query>,
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of output, and of every text on the way.
    pub output: usize,
    /// Commands, repetitions, list elements that are passed.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output: 1 << 20, steps: 500_000 }
    }
}

/// Named templates that others may call: Alertmanager's `templates:` files.
#[derive(Debug, Clone, Default)]
pub struct TemplateSet {
    definitions: Definitions,
}

impl TemplateSet {
    /// Adds what a file defines; a later definition of a name takes the place of an earlier one.
    ///
    /// # Errors
    /// The text is no template.
    pub fn add(&mut self, dialect: Dialect, file: &str, text: &str) -> Result<(), TemplateError> {
        let parsed = read(dialect, file, text, &[])?;
        // The file itself can be called by its name too, as in Go.
        self.definitions.insert(file.to_owned(), parsed.main);
        self.definitions.extend(parsed.definitions);
        Ok(())
    }

    /// Is there a template of this name?
    pub fn contains(&self, name: &str) -> bool {
        self.definitions.contains_key(name)
    }

    /// The first name that a template calls, itself or by those it calls, and that nobody defines.
    pub fn undefined<'a>(&'a self, template: &'a Template) -> Option<&'a str> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut waiting = vec![&template.main];
        while let Some(definition) = waiting.pop() {
            let mut called = Vec::new();
            calls(&definition.nodes, &mut called);
            for name in called.into_iter().filter(|name| seen.insert(name)) {
                match template.definitions.get(name).or_else(|| self.definitions.get(name)) {
                    Some(definition) => waiting.push(definition),
                    None => return Some(name),
                }
            }
        }
        None
    }
}

/// The names of the templates that nodes call; they are nested as deep as the parser allows.
fn calls<'a>(nodes: &'a [Node], out: &mut Vec<&'a str>) {
    for node in nodes {
        match node {
            Node::Template { name, .. } => out.push(name),
            Node::If(b) | Node::With(b) | Node::Range(b) => {
                calls(&b.body, out);
                calls(&b.otherwise, out);
            }
            Node::Text(_) | Node::Action(_) | Node::Break | Node::Continue => {}
        }
    }
}

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    main: Definition,
    definitions: Definitions,
}

impl Template {
    /// Reads a template. `variables` (with their `$`) are defined when it runs.
    ///
    /// # Errors
    /// Bad syntax, an unknown variable or function.
    pub fn parse(
        dialect: Dialect,
        name: &str,
        text: &str,
        variables: &[&str],
    ) -> Result<Self, TemplateError> {
        let parsed = read(dialect, name, text, variables)?;
        Ok(Self { main: parsed.main, definitions: parsed.definitions.into_iter().collect() })
    }

    /// The output, if it is the same for all data: a text without actions.
    pub fn constant(&self) -> Option<&str> {
        match self.main.nodes.as_slice() {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Runs it. `dot` is the data, `variables` must be those of [`Template::parse`], `set` has the
    /// templates that it may call beside its own.
    ///
    /// # Errors
    /// What Go's templates would refuse, or a bound is passed.
    pub fn run(
        &self,
        dot: &Value,
        variables: &[(&str, Value)],
        set: Option<&TemplateSet>,
        env: &Env<'_>,
        limits: Limits,
    ) -> Result<String, TemplateError> {
        if env.mode == Mode::Text
            && let Some(text) = self.constant()
        {
            return Ok(text.to_owned());
        }
        let mut definitions = vec![&self.definitions];
        definitions.extend(set.map(|s| &s.definitions));
        exec::run(&self.main, &definitions, dot, variables, env, limits)
            .map_err(|e| TemplateError::Run(e.message))
    }
}

/// Reads and runs a text at once, as message templates are used.
///
/// # Errors
/// As [`Template::parse`] and [`Template::run`].
pub fn expand(
    dialect: Dialect,
    text: &str,
    dot: &Value,
    set: Option<&TemplateSet>,
    env: &Env<'_>,
) -> Result<String, TemplateError> {
    Template::parse(dialect, "", text, &[])?.run(dot, &[], set, env, Limits::default())
}

fn read(
    dialect: Dialect,
    name: &str,
    text: &str,
    variables: &[&str],
) -> Result<parser::Parsed, TemplateError> {
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    parser::parse(Arc::clone(&source), dialect, variables).map_err(|e| {
        let (line, _) = source.place(e.offset);
        let before = text.get(..e.offset).unwrap_or(text);
        let column = 1 + before.chars().rev().take_while(|c| *c != '\n').count();
        TemplateError::Parse { name: name.to_owned(), line, column, message: e.message }
    })
}
