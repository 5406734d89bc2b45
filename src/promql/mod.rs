//! PromQL: the query language and its engine.
//!
//! A text is cut into words (`lexer`), read into a tree (`parser`), checked (`types`) and evaluated
//! (`eval`): every part of the tree gives its values at all steps of the query at once, a row a
//! series. Native histograms are not kept and have no syntax here.

mod aggregate;
mod annotations;
mod ast;
mod binary;
mod engine;
mod error;
mod eval;
mod functions;
mod grid;
mod group_memo;
mod grouping;
mod histogram;
mod info;
mod lexer;
mod number;
mod parser;
mod print;
mod quote;
mod range;
mod selector;
pub mod series_notation;
mod source;
mod sums;
mod table;
mod token;
mod types;
mod value;

pub use annotations::Annotations;
pub use ast::{
    Aggregate, At, Binary, Call, Cardinality, DurationExpr, DurationKind, Expr, Extension, Matching, Node,
    NodeKind, NumberLiteral, RangeSelector, Selector, Shift, Subquery,
};
pub use engine::{Engine, EngineOptions};
pub use error::{EvalError, ParseError, ParseErrors};
pub use functions::{FunctionId, Signature};
pub(crate) use parser::parse_selector_labels;
pub use parser::{MAX_DEPTH, MAX_LENGTH, parse, parse_selector};
pub use source::{Each, SeriesSet, Source};
pub use token::{AggregateOp, Op, Span};
pub use types::ValueType;
pub use value::{QueryOutput, Value, VectorSample};
