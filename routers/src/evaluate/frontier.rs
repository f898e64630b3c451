//! Quality over cost for any number of models: the frontier of what a router can be set to, and its area.

use super::pair::{area, value_at};

/// Where a setting of a router, or a single model, stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standpoint {
    /// Mean cost of a request, USD.
    pub cost_usd: f64,
    /// Mean quality.
    pub quality: f64,
}

/// The non-decreasing concave hull of standpoints: what mixtures of settings reach.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontier {
    /// (cost, quality), both ascending.
    pub points: Vec<(f64, f64)>,
}

impl Frontier {
    /// The frontier of these standpoints, at least one.
    #[must_use]
    pub fn new(of: &[Standpoint]) -> Self {
        let mut points: Vec<(f64, f64)> = of.iter().map(|at| (at.cost_usd, at.quality)).collect();
        points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(other.1.total_cmp(&one.1)));
        let mut hull: Vec<(f64, f64)> = Vec::new();
        for next in points {
            // Dearer and no better is never chosen.
            if hull.last().is_some_and(|last| next.1 <= last.1) {
                continue;
            }
            while let [.., before, last] = hull[..]
                && (last.1 - before.1) * (next.0 - before.0) <= (next.1 - before.1) * (last.0 - before.0)
            {
                hull.pop();
            }
            hull.push(next);
        }
        Self { points: hull }
    }

    /// AIQ: the area under the frontier between two costs, divided by their distance (Hu et al. 2024, RouterBench,
    /// arXiv 2403.12031). Left of its first point the frontier is that low; right of its last, it stays. `None` when
    /// the costs are one.
    #[must_use]
    pub fn aiq(&self, cheapest: f64, dearest: f64) -> Option<f64> {
        let range = dearest - cheapest;
        if range <= 0.0 || self.points.is_empty() {
            return None;
        }
        let inside = self.points.iter().copied().filter(|(cost, _)| (cheapest..=dearest).contains(cost));
        let mut points = vec![(cheapest, value_at(&self.points, cheapest))];
        points.extend(inside);
        points.push((dearest, value_at(&self.points, dearest)));
        Some(area(&points) / range)
    }

    /// The least cost with this quality; `None` if it is never reached.
    #[must_use]
    pub fn cost_at(&self, quality: f64) -> Option<f64> {
        let place = self.points.iter().position(|(_, reached)| *reached >= quality - 1e-12)?;
        let (cost, reached) = self.points[place];
        match place.checked_sub(1).and_then(|before| self.points.get(before)) {
            Some(&(from, low)) => Some(from + (cost - from) * ((quality - low) / (reached - low)).min(1.0)),
            None => Some(cost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier(points: &[(f64, f64)]) -> Frontier {
        let of: Vec<_> = points.iter().map(|&(cost_usd, quality)| Standpoint { cost_usd, quality }).collect();
        Frontier::new(&of)
    }

    #[test]
    fn the_hull_is_concave_and_never_falls() {
        let hull = frontier(&[(4.0, 0.7), (1.0, 0.2), (2.0, 0.6), (3.0, 0.61), (2.0, 0.5), (5.0, 0.4)]);
        assert_eq!(hull.points, [(1.0, 0.2), (2.0, 0.6), (4.0, 0.7)]);
        assert_eq!(frontier(&[(1.0, 0.5), (2.0, 0.5)]).points, [(1.0, 0.5)]);
    }

    #[test]
    fn the_area_by_hand() {
        let hull = frontier(&[(1.0, 0.2), (2.0, 0.6), (4.0, 0.7)]);
        // 0.4 from 1 to 2, 0.65 twice from 2 to 4, 0.7 from 4 to 5.
        assert!((hull.aiq(1.0, 5.0).unwrap() - (0.4 + 1.3 + 0.7) / 4.0).abs() < 1e-12);
        assert_eq!(hull.aiq(2.0, 2.0), None);
        assert_eq!(frontier(&[]).aiq(0.0, 1.0), None);
    }

    #[test]
    fn costs_of_a_quality() {
        let hull = frontier(&[(1.0, 0.2), (2.0, 0.6), (4.0, 0.7)]);
        assert_eq!(hull.cost_at(0.1), Some(1.0));
        assert!((hull.cost_at(0.4).unwrap() - 1.5).abs() < 1e-12);
        assert!((hull.cost_at(0.7).unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(hull.cost_at(0.8), None);
    }
}
