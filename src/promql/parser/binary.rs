//! Reads what stands between a binary operator and its right side: `bool`, `on`, `group_left`, `fill` and their kin.

use super::super::ast::{Cardinality, Matching};
use super::super::token::{Keyword, Kind, Op};
use super::{Parsed, Parser, Stop};

impl Parser<'_> {
    /// Is the comparison to give 0 and 1, and which series belong together?
    pub fn binary_modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let mut matching = Matching::default();
        let return_bool = self.take_if(Kind::Keyword(Keyword::Bool)).is_some();
        let on = match self.peek().kind {
            Kind::Keyword(Keyword::On) => Some(true),
            Kind::Keyword(Keyword::Ignoring) => Some(false),
            _ => None,
        };
        if let Some(on) = on {
            self.take();
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let grouped = match self.peek().kind {
                Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if grouped != Cardinality::OneToOne {
                self.take();
                matching.cardinality = grouped;
                if self.peek().kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let Kind::Keyword(fill @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            self.peek().kind
        {
            // Without the parenthesis it is a metric of that name.
            if self.peek_at(1).kind != Kind::LeftParen {
                break;
            }
            self.take();
            self.take();
            let value = self.signed_number()?;
            self.expect(Kind::RightParen)?;
            if fill != Keyword::FillRight {
                matching.fill_left = Some(value);
            }
            if fill != Keyword::FillLeft {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    /// A number or duration with a sign before it.
    pub fn signed_number(&mut self) -> Parsed<f64> {
        let minus = self.take_if(Kind::Op(Op::Sub)).is_some();
        if !minus {
            self.take_if(Kind::Op(Op::Add));
        }
        if !matches!(self.peek().kind, Kind::Number | Kind::Duration) {
            return Err(Stop::Unexpected);
        }
        let value = self.literal().value;
        Ok(if minus { -value } else { value })
    }
}
