//! What a template is once it is parsed.

use std::sync::Arc;

use super::functions::Function;
use super::value::Value;

/// The bytes of the text that a node came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { name: Box<str>, pipe: Option<Pipe>, span: Span },
    Break,
    Continue,
}

/// `if`, `with` and `range`; an `else if` is a branch inside `otherwise`.
#[derive(Debug)]
pub(super) struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

/// Commands joined by `|`, and the variables that take the result.
#[derive(Debug)]
pub(super) struct Pipe {
    pub variables: Vec<Box<str>>,
    /// `=` and not `:=`.
    pub assigns: bool,
    pub commands: Vec<Command>,
    pub span: Span,
}

/// An operand, or a function with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub operands: Vec<Operand>,
    pub span: Span,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub kind: OperandKind,
    pub span: Span,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Constant(Value),
    /// `.a.b`
    Field(Vec<Box<str>>),
    /// `$x.a.b`
    Variable(Box<str>, Vec<Box<str>>),
    Function(&'static Function),
    /// A pipeline in parentheses.
    Pipe(Box<Pipe>),
    /// Fields of what parentheses or a function give.
    Chain(Box<Operand>, Vec<Box<str>>),
}

/// One named template: the text it stands in, for error messages, and its nodes.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub source: Arc<Source>,
    pub nodes: Arc<Vec<Node>>,
}

/// A text with the name by which errors call it.
#[derive(Debug)]
pub(super) struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    /// Line (from 1) and byte in the line (from 0, as Go counts) of an offset.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = before.iter().rev().take_while(|b| **b != b'\n').count();
        (line, column)
    }

    /// The text of a node, on one line.
    pub fn excerpt(&self, span: Span) -> String {
        let text = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
