//! Shares of somebody else's time, drawn from left to right.

/// A scale that several rows share, so that 1 is at the same place in each.
#[derive(Clone, Copy)]
pub(super) struct Scale(f64);

impl Scale {
    /// Long enough for these.
    pub(super) fn of(ratios: impl Iterator<Item = f64>) -> Self {
        Self(ratios.fold(1.1, f64::max))
    }

    /// Where a ratio is, of 100.
    fn at(self, ratio: f64) -> f64 {
        (ratio / self.0 * 100.0).clamp(0.0, 100.0)
    }

    /// From the left as far as the ratio.
    pub(super) fn bar(self, ratio: f64) -> String {
        format!(
            "<rect class=\"bar\" y=\"1.5\" width=\"{:.2}\" height=\"7\"/>",
            self.at(ratio)
        )
    }

    /// An upright line at the ratio. The picture is stretched, its lines are not.
    pub(super) fn line(self, class: &str, ratio: f64) -> String {
        let (top, bottom) = if class.starts_with("stroke") {
            (2, 8)
        } else {
            (0, 10)
        };
        format!(
            "<line class=\"{class}\" x1=\"{0:.2}\" x2=\"{0:.2}\" y1=\"{top}\" y2=\"{bottom}\" vector-effect=\"non-scaling-stroke\"/>",
            self.at(ratio)
        )
    }

    /// A row's picture with 1 dotted, and in words for who does not see it.
    pub(super) fn picture(self, class: &str, inside: &str, words: &str) -> String {
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{words}\">\
             <rect class=\"track\" width=\"100\" height=\"10\"/>{inside}{}</svg>",
            self.line("one", 1.0)
        )
    }
}
