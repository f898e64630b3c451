//! Where there is room for names beside dots.

use plotters::style::text_anchor::HPos;

/// Pixels: about the width of a letter, and the height of a line.
const LETTER: i32 = 6;
const HEIGHT: i32 = 13;
/// From the dot's centre.
const GAP: i32 = 8;
/// Dots and names keep clear of this much around a dot.
const DOT: i32 = 5;

/// Left, top, right, bottom.
type Rectangle = [i32; 4];

/// What is taken already.
pub(super) struct Labels {
    inside: Rectangle,
    taken: Vec<Rectangle>,
}

impl Labels {
    /// Names stay within `across` and `up`, and off the dots.
    pub(super) fn new(across: (i32, i32), up: (i32, i32), dots: &[(i32, i32)]) -> Self {
        let taken = dots.iter().map(|&(x, y)| [x - DOT, y - DOT, x + DOT, y + DOT]).collect();
        Self { inside: [across.0, up.0, across.1, up.1], taken }
    }

    /// A place for a name beside its dot, if there is one, and which end of the name is there.
    pub(super) fn place(&mut self, label: &str, (x, y): (i32, i32)) -> Option<(i32, i32, HPos)> {
        let (width, half) = (width(label), HEIGHT / 2);
        for rise in [0, HEIGHT, -HEIGHT] {
            for (from, to, anchor, side) in [
                (x + GAP, x + GAP + width, x + GAP, HPos::Left),
                (x - GAP - width, x - GAP, x - GAP, HPos::Right),
            ] {
                let wanted = [from, y + rise - half, to, y + rise + half];
                if self.is_free(wanted) {
                    self.taken.push(wanted);
                    return Some((anchor, y + rise, side));
                }
            }
        }
        None
    }

    fn is_free(&self, [left, top, right, bottom]: Rectangle) -> bool {
        let [from, up, to, down] = self.inside;
        let is_inside = left >= from && top >= up && right <= to && bottom <= down;
        let overlaps =
            |other: &Rectangle| left < other[2] && other[0] < right && top < other[3] && other[1] < bottom;
        is_inside && !self.taken.iter().any(overlaps)
    }
}

/// The corners of the rectangle that a name covers.
pub(super) fn behind(label: &str, x: i32, y: i32, side: &HPos) -> [(i32, i32); 2] {
    // Most letters are narrower than what is kept clear for them.
    let (width, half) = (width(label) * 5 / 6, HEIGHT / 2);
    let left = if matches!(side, HPos::Right) { x - width } else { x };
    [(left, y - half), (left + width, y + half)]
}

fn width(label: &str) -> i32 {
    LETTER * i32::try_from(label.chars().count()).unwrap_or(i32::MAX / LETTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_clear_of_each_other_and_of_the_edge() {
        let dots = [(50, 50), (64, 50), (290, 50)];
        let mut labels = Labels::new((0, 300), (0, 100), &dots);
        let mut place =
            |label: &str, at| labels.place(label, at).map(|(x, y, side)| (x, y, matches!(side, HPos::Right)));
        assert_eq!(place("first", dots[0]), Some((42, 50, true)), "the second dot stands to the right");
        assert_eq!(place("second", dots[1]), Some((72, 50, false)));
        assert_eq!(place("edge", dots[2]), Some((282, 50, true)), "turned inwards");
        assert_eq!(place(&"x".repeat(60), dots[0]), None);
    }
}
