//! The words of the language, and where they stand.

use std::fmt;

/// A part of a query's text, in bytes: from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// From byte offsets; queries are shorter than 4 GiB (the parser's limit is far below).
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// From the start of one to the end of another.
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

/// What kind of word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A plain name; keywords are names too, told apart by their text.
    Identifier,
    /// A name with colons in it.
    MetricIdentifier,
    Keyword(Keyword),
    Number,
    Duration,
    String,
    Op(Op),
    /// `=`, which is an operator inside braces only.
    Eql,
    EqlRegex,
    NeqRegex,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    Eof,
    /// The lexer's own refusal; its message has been noted.
    Error,
}

/// A word of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Span,
}

/// Words with a meaning of their own. All may stand as label names, most as metric names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Aggregate(AggregateOp),
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
}

impl Keyword {
    /// By its text, in lower case.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "offset" => Self::Offset,
            "smoothed" => Self::Smoothed,
            "anchored" => Self::Anchored,
            "by" => Self::By,
            "without" => Self::Without,
            "on" => Self::On,
            "ignoring" => Self::Ignoring,
            "group_left" => Self::GroupLeft,
            "group_right" => Self::GroupRight,
            "fill" => Self::Fill,
            "fill_left" => Self::FillLeft,
            "fill_right" => Self::FillRight,
            "bool" => Self::Bool,
            "start" => Self::Start,
            "end" => Self::End,
            "step" => Self::Step,
            "range" => Self::Range,
            _ => Self::Aggregate(AggregateOp::of(word)?),
        })
    }

    /// May it be a metric's name where an expression is expected?
    pub fn may_be_metric(self) -> bool {
        !matches!(self, Self::Bool | Self::On | Self::Ignoring | Self::GroupLeft | Self::GroupRight)
    }
}

/// The aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    Limitk,
    LimitRatio,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl AggregateOp {
    const ALL: [(Self, &'static str); 14] = [
        (Self::Avg, "avg"),
        (Self::Bottomk, "bottomk"),
        (Self::Count, "count"),
        (Self::CountValues, "count_values"),
        (Self::Group, "group"),
        (Self::Limitk, "limitk"),
        (Self::LimitRatio, "limit_ratio"),
        (Self::Max, "max"),
        (Self::Min, "min"),
        (Self::Quantile, "quantile"),
        (Self::Stddev, "stddev"),
        (Self::Stdvar, "stdvar"),
        (Self::Sum, "sum"),
        (Self::Topk, "topk"),
    ];

    /// By its name in lower case.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(op, _)| *op)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(op, _)| *op == self).map_or("", |(_, name)| name)
    }

    /// Does it take a parameter before the vector?
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Bottomk | Self::CountValues | Self::Limitk | Self::LimitRatio | Self::Quantile | Self::Topk
        )
    }

    /// Does it hand on some of the series rather than making new ones?
    pub fn picks_series(self) -> bool {
        matches!(self, Self::Bottomk | Self::Limitk | Self::LimitRatio | Self::Topk)
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eql,
    Neq,
    Lss,
    Lte,
    Gtr,
    Gte,
    /// `</`: cuts a native histogram's upper part off.
    TrimUpper,
    /// `>/`: cuts a native histogram's lower part off.
    TrimLower,
    And,
    Or,
    Unless,
}

impl Op {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eql => "==",
            Self::Neq => "!=",
            Self::Lss => "<",
            Self::Lte => "<=",
            Self::Gtr => ">",
            Self::Gte => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// The larger binds tighter.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Eql | Self::Neq | Self::Lss | Self::Lte | Self::Gtr | Self::Gte => 3,
            Self::TrimUpper | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }

    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eql | Self::Neq | Self::Lss | Self::Lte | Self::Gtr | Self::Gte)
    }

    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
