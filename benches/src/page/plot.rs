//! A small picture with a logarithmic upright axis.

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 120.0;
/// Room for the numbers of the axes.
const LEFT: f64 = 34.0;
const BOTTOM: f64 = 16.0;

/// The picture.
pub(super) struct Plot {
    low: f64,
    high: f64,
    text: String,
}

impl Plot {
    /// For these values; named for who does not see it.
    pub(super) fn of(values: impl Iterator<Item = f64>, name: &str) -> Self {
        let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = (low.max(0.01) * 0.9, high * 1.15);
        let mut plot = Self {
            low,
            high,
            text: format!(
                "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{name}\">"
            ),
        };
        let mut decade = 10_f64.powf(low.log10().floor());
        while decade < high {
            for step in [1.0, 2.0, 5.0] {
                let value = decade * step;
                // Few lines over a wide range, more over a narrow one.
                if (low..=high).contains(&value) && (step < 1.5 || high / low < 30.0) {
                    plot.text += &format!(
                        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>\
                         <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{3}</text>",
                        plot.y(value),
                        LEFT - 4.0,
                        plot.y(value) + 3.0,
                        short(value)
                    );
                }
            }
            decade *= 10.0;
        }
        plot
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        (HEIGHT - BOTTOM) * (1.0 - share) + 2.0
    }

    /// A line through points whose x is between 0 and 1.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let steps: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{:.1} {:.1}", place(x), self.y(y)))
            .collect();
        self.text += &format!("<path class=\"{class}\" d=\"M{}\"/>", steps.join("L"));
    }

    /// Words below the axis.
    pub(super) fn below(&mut self, x: f64, words: &str, anchor: &str) {
        self.text += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
            place(x),
            HEIGHT - 3.0
        );
    }

    /// The picture as HTML.
    pub(super) fn end(self) -> String {
        self.text + "</svg>"
    }
}

fn place(x: f64) -> f64 {
    LEFT + (WIDTH - LEFT - 3.0) * x
}

/// A number in three characters or so.
pub(super) fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}
