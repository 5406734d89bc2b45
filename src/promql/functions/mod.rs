//! The functions: their names and types here, what they do in a file a family.

pub(super) mod calendar;
pub(super) mod histograms;
pub(super) mod labels;
pub(super) mod math;
pub(super) mod over_time;
pub(super) mod rate;
pub(super) mod trend;

use super::types::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

/// What a function takes and gives.
#[derive(Debug)]
pub struct Signature {
    pub name: &'static str,
    pub id: FunctionId,
    /// The last one may be left out or repeated as `variadic` says.
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument up to n times; -1: any number of times.
    pub variadic: i32,
    pub returns: ValueType,
    /// Depends on the time of evaluation when called without arguments.
    pub time_dependent: bool,
    /// Depends on the time of evaluation whatever its arguments are.
    pub always_time_dependent: bool,
}

impl Signature {
    /// The function of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|f| f.name == name)
    }
}

impl PartialEq for Signature {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

macro_rules! functions {
    ($($id:ident $name:literal ($($arg:ident),*) $variadic:literal $returns:ident;)*) => {
        /// The functions, each once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FunctionId { $($id),* }

        static FUNCTIONS: &[Signature] = &[$(Signature {
            name: $name,
            id: FunctionId::$id,
            args: &[$($arg),*],
            variadic: $variadic,
            returns: $returns,
            time_dependent: FunctionId::$id.is_time_dependent(),
            always_time_dependent: FunctionId::$id.is_always_time_dependent(),
        }),*];
    };
}

functions! {
    Abs "abs" (Vector) 0 Vector;
    Absent "absent" (Vector) 0 Vector;
    AbsentOverTime "absent_over_time" (Matrix) 0 Vector;
    Acos "acos" (Vector) 0 Vector;
    Acosh "acosh" (Vector) 0 Vector;
    Asin "asin" (Vector) 0 Vector;
    Asinh "asinh" (Vector) 0 Vector;
    Atan "atan" (Vector) 0 Vector;
    Atanh "atanh" (Vector) 0 Vector;
    AvgOverTime "avg_over_time" (Matrix) 0 Vector;
    Ceil "ceil" (Vector) 0 Vector;
    Changes "changes" (Matrix) 0 Vector;
    Clamp "clamp" (Vector, Scalar, Scalar) 0 Vector;
    ClampMax "clamp_max" (Vector, Scalar) 0 Vector;
    ClampMin "clamp_min" (Vector, Scalar) 0 Vector;
    Cos "cos" (Vector) 0 Vector;
    Cosh "cosh" (Vector) 0 Vector;
    CountOverTime "count_over_time" (Matrix) 0 Vector;
    DayOfMonth "day_of_month" (Vector) 1 Vector;
    DayOfWeek "day_of_week" (Vector) 1 Vector;
    DayOfYear "day_of_year" (Vector) 1 Vector;
    DaysInMonth "days_in_month" (Vector) 1 Vector;
    Deg "deg" (Vector) 0 Vector;
    Delta "delta" (Matrix) 0 Vector;
    Deriv "deriv" (Matrix) 0 Vector;
    DoubleExponentialSmoothing "double_exponential_smoothing" (Matrix, Scalar, Scalar) 0 Vector;
    End "end" () 0 Scalar;
    Exp "exp" (Vector) 0 Vector;
    FirstOverTime "first_over_time" (Matrix) 0 Vector;
    Floor "floor" (Vector) 0 Vector;
    HistogramAvg "histogram_avg" (Vector) 0 Vector;
    HistogramCount "histogram_count" (Vector) 0 Vector;
    HistogramFraction "histogram_fraction" (Scalar, Scalar, Vector) 0 Vector;
    HistogramQuantile "histogram_quantile" (Scalar, Vector) 0 Vector;
    HistogramQuantiles "histogram_quantiles" (Vector, String, Scalar, Scalar) 10 Vector;
    HistogramStddev "histogram_stddev" (Vector) 0 Vector;
    HistogramStdvar "histogram_stdvar" (Vector) 0 Vector;
    HistogramSum "histogram_sum" (Vector) 0 Vector;
    Hour "hour" (Vector) 1 Vector;
    Idelta "idelta" (Matrix) 0 Vector;
    Increase "increase" (Matrix) 0 Vector;
    Info "info" (Vector, Vector) 1 Vector;
    Irate "irate" (Matrix) 0 Vector;
    LabelJoin "label_join" (Vector, String, String, String) -1 Vector;
    LabelReplace "label_replace" (Vector, String, String, String, String) 0 Vector;
    LastOverTime "last_over_time" (Matrix) 0 Vector;
    Ln "ln" (Vector) 0 Vector;
    Log10 "log10" (Vector) 0 Vector;
    Log2 "log2" (Vector) 0 Vector;
    MadOverTime "mad_over_time" (Matrix) 0 Vector;
    MaxOf "max_of" (Scalar, Scalar) 0 Scalar;
    MaxOverTime "max_over_time" (Matrix) 0 Vector;
    MinOf "min_of" (Scalar, Scalar) 0 Scalar;
    MinOverTime "min_over_time" (Matrix) 0 Vector;
    Minute "minute" (Vector) 1 Vector;
    Month "month" (Vector) 1 Vector;
    Pi "pi" () 0 Scalar;
    PredictLinear "predict_linear" (Matrix, Scalar) 0 Vector;
    PresentOverTime "present_over_time" (Matrix) 0 Vector;
    QuantileOverTime "quantile_over_time" (Scalar, Matrix) 0 Vector;
    Rad "rad" (Vector) 0 Vector;
    Range "range" () 0 Scalar;
    Rate "rate" (Matrix) 0 Vector;
    Resets "resets" (Matrix) 0 Vector;
    Round "round" (Vector, Scalar) 1 Vector;
    ScalarOf "scalar" (Vector) 0 Scalar;
    Sgn "sgn" (Vector) 0 Vector;
    Sin "sin" (Vector) 0 Vector;
    Sinh "sinh" (Vector) 0 Vector;
    Sort "sort" (Vector) 0 Vector;
    SortByLabel "sort_by_label" (Vector, String) -1 Vector;
    SortByLabelDesc "sort_by_label_desc" (Vector, String) -1 Vector;
    SortDesc "sort_desc" (Vector) 0 Vector;
    Sqrt "sqrt" (Vector) 0 Vector;
    Start "start" () 0 Scalar;
    StartTimestamp "start_timestamp" (Vector) 0 Vector;
    StddevOverTime "stddev_over_time" (Matrix) 0 Vector;
    StdvarOverTime "stdvar_over_time" (Matrix) 0 Vector;
    Step "step" () 0 Scalar;
    SumOverTime "sum_over_time" (Matrix) 0 Vector;
    Tan "tan" (Vector) 0 Vector;
    Tanh "tanh" (Vector) 0 Vector;
    Time "time" () 0 Scalar;
    Timestamp "timestamp" (Vector) 0 Vector;
    TsOfFirstOverTime "ts_of_first_over_time" (Matrix) 0 Vector;
    TsOfLastOverTime "ts_of_last_over_time" (Matrix) 0 Vector;
    TsOfMaxOverTime "ts_of_max_over_time" (Matrix) 0 Vector;
    TsOfMinOverTime "ts_of_min_over_time" (Matrix) 0 Vector;
    VectorOf "vector" (Scalar) 0 Vector;
    Year "year" (Vector) 1 Vector;
}

impl FunctionId {
    const fn is_time_dependent(self) -> bool {
        matches!(
            self,
            Self::Time
                | Self::DayOfMonth
                | Self::DayOfWeek
                | Self::DayOfYear
                | Self::DaysInMonth
                | Self::Hour
                | Self::Minute
                | Self::Month
                | Self::Year
        ) || self.is_always_time_dependent()
    }

    const fn is_always_time_dependent(self) -> bool {
        matches!(self, Self::PredictLinear | Self::Timestamp | Self::StartTimestamp)
    }

    /// May the range it reads be `anchored`?
    pub(super) fn takes_anchored(self) -> bool {
        matches!(self, Self::Changes | Self::Resets) || self.takes_smoothed()
    }

    /// May the range it reads be `smoothed`?
    pub(super) fn takes_smoothed(self) -> bool {
        matches!(self, Self::Delta | Self::Increase | Self::Rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        assert_eq!(Signature::of("rate").map(|f| f.id), Some(FunctionId::Rate));
        assert!(Signature::of("holt_winters").is_none());
    }
}
