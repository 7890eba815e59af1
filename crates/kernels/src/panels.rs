//! How rows are cut into panels, the unit of a tile.

use std::ops::Range;

/// `m` rows in as few panels of at most `most` rows as there can be, of heights that differ by one at most: 50 rows in panels of at most 8 are 8, 7, 7,
/// 7, 7, 7 and 7, so that no tile is left with a row or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panels {
    pub(crate) count: usize,
    short: usize,
    /// So many of the first panels have one row more.
    tall: usize,
}

impl Panels {
    pub(crate) fn new(m: usize, most: usize) -> Self {
        let count = m.div_ceil(most);
        Self { count, short: m.checked_div(count).unwrap_or(0), tall: m.checked_rem(count).unwrap_or(0) }
    }

    /// The rows of a panel.
    pub(crate) fn rows(self, panel: usize) -> Range<usize> {
        let first = panel * self.short + panel.min(self.tall);
        first..first + self.short + usize::from(panel < self.tall)
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
}
