//! How rows are cut into panels, the unit of a tile.

use std::ops::Range;

/// `m` rows in as few panels of at most `most` rows as there can be, of heights that differ by one at most: 50 rows in panels of at most 8 are 8, 7, 7,
/// 7, 7, 7 and 7, so that no tile is left with a row or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panels {
    pub(crate) count: usize,
    m: usize,
    /// Rows that stay in one panel; all the rest counts these.
    together: usize,
    short: usize,
    /// So many of the first panels have one more.
    tall: usize,
}

impl Panels {
    pub(crate) fn new(m: usize, most: usize) -> Self {
        Self::whole(m, most, 1)
    }

    /// The same with `together` rows at a time, of which only the last are fewer; `most` is a multiple of that.
    pub(crate) fn whole(m: usize, most: usize, together: usize) -> Self {
        let (units, most) = (m.div_ceil(together), most / together);
        let count = units.div_ceil(most);
        Self { count, m, together, short: units.checked_div(count).unwrap_or(0), tall: units.checked_rem(count).unwrap_or(0) }
    }

    /// The rows of a panel.
    pub(crate) fn rows(self, panel: usize) -> Range<usize> {
        let first = panel * self.short + panel.min(self.tall);
        let end = first + self.short + usize::from(panel < self.tall);
        first * self.together..(end * self.together).min(self.m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_balanced_and_cover_the_rows() {
        for most in 1..=8 {
            for m in 0..300 {
                let panels = Panels::new(m, most);
                let mut next = 0;
                for panel in 0..panels.count {
                    let rows = panels.rows(panel);
                    assert_eq!(rows.start, next);
                    assert!(rows.len() <= most && rows.len() >= m / panels.count, "{m} in {most}: {rows:?}");
                    next = rows.end;
                }
                assert_eq!((next, panels.count), (m, m.div_ceil(most)));
            }
        }
    }

    #[test]
    fn pairs_stay_together() {
        for most in [2, 4, 6] {
            for m in 0..100 {
                let panels = Panels::whole(m, most, 2);
                let mut next = 0;
                for panel in 0..panels.count {
                    let rows = panels.rows(panel);
                    assert_eq!(rows.start, next);
                    assert!(rows.start.is_multiple_of(2) && (1..=most).contains(&rows.len()), "{m} in {most}: {rows:?}");
                    next = rows.end;
                }
                assert_eq!((next, panels.count), (m, m.div_ceil(most)));
            }
        }
    }
}
