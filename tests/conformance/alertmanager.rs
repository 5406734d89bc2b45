use std::path::Path;

use crate::tally::Tally;

pub fn config(_dir: &Path, _tally: &mut Tally) {}
pub fn inhibition(_dir: &Path, _tally: &mut Tally) {}
pub fn matchers(_dir: &Path, _tally: &mut Tally) {}
pub fn routing(_dir: &Path, _tally: &mut Tally) {}
pub fn timeintervals(_dir: &Path, _tally: &mut Tally) {}
