//! Results, as they are handed out and as they are while evaluating.

use super::annotations::Annotations;
use super::table::{ABSENT, Table};
use super::types::ValueType;
use crate::model::{Labels, METRIC_NAME, Sample, Timestamp};

/// The labels that say what a series measures; they go where the metric name goes.
pub(super) const RESERVED: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Labels without the metric name and what belongs to it.
pub(super) fn without_reserved(labels: &Labels) -> Labels {
    labels.without(is_reserved)
}

/// A query's result.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(f64),
    String(String),
    Vector(Vec<VectorSample>),
    /// Sorted by labels. Samples are oldest first.
    Matrix(Vec<(Labels, Vec<Sample>)>),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }
}

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    pub labels: Labels,
    /// The time of evaluation, ms.
    pub t: Timestamp,
    pub v: f64,
}

/// A result with the remarks on it.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutput {
    pub value: Value,
    pub annotations: Annotations,
}

/// A scalar at every step.
#[derive(Debug, Clone)]
pub(super) enum Column {
    Same(f64),
    Steps(Vec<f64>),
}

impl Column {
    pub fn at(&self, i: usize) -> f64 {
        match self {
            Self::Same(v) => *v,
            Self::Steps(v) => v.get(i).copied().unwrap_or(ABSENT),
        }
    }

    /// The same over `n` steps when it has one only.
    pub fn widened(self, n: usize) -> Self {
        match self {
            Self::Steps(v) if v.len() == 1 && n > 1 => Self::Same(v[0]),
            other => other,
        }
    }
}

/// A part's value over all steps.
#[derive(Debug, Clone)]
pub(super) enum Val {
    Scalar(Column),
    String(String),
    Vector(Table),
}
