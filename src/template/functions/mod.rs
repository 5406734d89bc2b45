//! The functions of templates, by family, and how they are called.

mod alertmanager;
mod builtin;
mod compare;
mod humanize;
mod json;
mod prometheus;
mod text;

use super::Env;
use super::value::Value;

pub(super) use text::{html_escape, js_escape};

/// Whose templates they are: it decides which functions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Labels and annotations of rules.
    Prometheus,
    /// Messages of receivers.
    Alertmanager,
}

/// A function by its name.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    /// The fewest and the most arguments.
    pub arity: (usize, usize),
    pub run: Run,
}

/// How a function is evaluated.
#[derive(Debug)]
pub(super) enum Run {
    Plain(fn(&Call<'_>) -> Result<Value, String>),
    /// Arguments are evaluated until one is false.
    And,
    /// Arguments are evaluated until one is true.
    Or,
    /// Runs a template by its name.
    Template,
}

/// Any number of arguments.
const MANY: usize = usize::MAX;

/// The arguments of a call and what surrounds it.
pub(super) struct Call<'a> {
    pub args: &'a [Value],
    pub env: &'a Env<'a>,
    /// The most bytes a text may have.
    pub limit: usize,
}

impl Call<'_> {
    /// An argument, no value when it is not there.
    fn arg(&self, i: usize) -> &Value {
        self.args.get(i).unwrap_or(&Value::Nil)
    }

    /// A text argument.
    fn text(&self, i: usize) -> Result<&str, String> {
        let arg = self.arg(i);
        // A text that is safe for something is of another type, and Go converts nothing.
        let text = if let Value::Str(text) = arg { Some(text.as_ref()) } else { None };
        text.ok_or_else(|| format!("wrong type for value; expected string; got {}", arg.type_name()))
    }

    /// A text that is not longer than allowed.
    fn bounded(&self, text: String) -> Result<Value, String> {
        if text.len() > self.limit {
            return Err(format!("text is longer than {} bytes", self.limit));
        }
        Ok(Value::from(text))
    }
}

/// Looks a function up.
pub(super) fn find(dialect: Dialect, name: &str) -> Option<&'static Function> {
    let own = match dialect {
        Dialect::Prometheus => prometheus::FUNCTIONS,
        Dialect::Alertmanager => alertmanager::FUNCTIONS,
    };
    own.iter().chain(builtin::FUNCTIONS).find(|f| f.name == name)
}

/// Shorthand for the tables.
const fn plain(
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(&Call<'_>) -> Result<Value, String>,
) -> Function {
    Function { name, arity: (least, most), run: Run::Plain(run) }
}
