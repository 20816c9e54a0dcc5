//! A plot of lines, as SVG: two axes, each linear or logarithmic, and a legend. Nothing more, so nobody else's code.

use std::fmt::Write;

/// A plot.
#[derive(Debug)]
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical one.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
    /// What colours and dashes mean.
    pub legend: Vec<Entry>,
}

/// A line of the legend.
#[derive(Debug)]
pub struct Entry {
    /// What it means.
    pub label: String,
    /// As SVG spells it.
    pub colour: &'static str,
    /// How it is dashed, as SVG spells it; empty: not at all.
    pub dash: &'static str,
}

/// An axis.
#[derive(Debug)]
pub struct Axis {
    /// What is on it, with its unit.
    pub label: &'static str,
    /// Whether each step is ten times the one before.
    pub is_log: bool,
}

/// A line of points.
#[derive(Debug)]
pub struct Line {
    /// As in the legend.
    pub colour: &'static str,
    /// As in the legend.
    pub dash: &'static str,
    /// Where it goes, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Where values go, in pixels.
struct Scale {
    is_log: bool,
    /// Something is drawn at the lower end that is less.
    has_less: bool,
    /// The values at the ends.
    ends: [f64; 2],
    /// The pixels there.
    pixels: [f64; 2],
}

impl Plot {
    /// The plot as a file. What cannot be on a logarithmic axis, being 0, is drawn at its lower end.
    pub fn to_svg(&self) -> String {
        let x = Scale::of(
            self.x.is_log,
            self.lines.iter().flat_map(|line| &line.points).map(|at| at.0),
            [LEFT, RIGHT],
        );
        let y = Scale::of(
            self.y.is_log,
            self.lines.iter().flat_map(|line| &line.points).map(|at| at.1),
            [BOTTOM, TOP],
        );
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            escape(self.title)
        );
        // Writing into text never fails.
        for at in x.ticks() {
            let px = x.pixel(at);
            let _ = writeln!(svg, "<path d=\"M{px:.1} {BOTTOM}V{TOP}\" stroke=\"#ddd\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 18.0,
                x.label(at)
            );
        }
        for at in y.ticks() {
            let py = y.pixel(at);
            let _ = writeln!(svg, "<path d=\"M{LEFT} {py:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                py + 4.0,
                y.label(at)
            );
        }
        let _ = writeln!(svg, "<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" stroke=\"black\" fill=\"none\"/>");
        let middle = (LEFT + RIGHT) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 10.0,
            escape(self.x.label)
        );
        let middle = (TOP + BOTTOM) / 2.0;
        let _ = writeln!(
            svg,
            "<text transform=\"translate(16 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escape(self.y.label)
        );
        let stroke = |colour, dash| format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" fill=\"none\"");
        for line in &self.lines {
            let colour = line.colour;
            let mut path = String::new();
            for (index, at) in line.points.iter().enumerate() {
                let (px, py) = (x.pixel(at.0), y.pixel(at.1));
                let _ = write!(path, "{}{px:.1} {py:.1}", if index == 0 { 'M' } else { 'L' });
                let _ = writeln!(svg, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let _ = writeln!(svg, "<path d=\"{path}\" {}/>", stroke(colour, line.dash));
        }
        for (row, entry) in self.legend.iter().enumerate() {
            let (from, to, py) = (RIGHT + 14.0, RIGHT + 44.0, TOP + 10.0 + 20.0 * row as f64);
            let _ = writeln!(svg, "<path d=\"M{from} {py}H{to}\" {}/>", stroke(entry.colour, entry.dash));
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{}</text>", to + 6.0, py + 4.0, escape(&entry.label));
        }
        svg + "</svg>\n"
    }
}

impl Scale {
    fn of(is_log: bool, values: impl Iterator<Item = f64>, pixels: [f64; 2]) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut has_less = false;
        for value in values {
            if is_log && value <= 0.0 {
                has_less = true;
            } else {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let ends = if is_log {
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            [10_f64.powf(low), 10_f64.powf(high.max(low + 1.0))]
        } else {
            let step = step(high.max(f64::MIN_POSITIVE));
            [0.0, (high / step).ceil().max(1.0) * step]
        };
        Self {
            is_log,
            has_less,
            ends,
            pixels,
        }
    }

    fn pixel(&self, value: f64) -> f64 {
        let [low, high] = self.ends;
        let share = if self.is_log {
            (value.max(low) / low).log10() / (high / low).log10()
        } else {
            (value - low) / (high - low)
        };
        self.pixels[0] + share * (self.pixels[1] - self.pixels[0])
    }

    /// What stands at a tick: at the lower end of a logarithmic axis that 0 is drawn there too.
    fn label(&self, tick: f64) -> String {
        let less = if self.has_less && tick <= self.ends[0] { "0 to " } else { "" };
        format!("{less}{}", short(tick))
    }

    fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.ends;
        if self.is_log {
            let decades = (high / low).log10().round() as i32;
            return (0..=decades).map(|decade| low * 10_f64.powi(decade)).collect();
        }
        let step = step(high);
        (0..=(high / step).round() as u32).map(|tick| f64::from(tick) * step).collect()
    }
}

/// The distance of ticks on a linear axis that ends there: 1, 2 or 5 and noughts, so that there are five to ten.
fn step(end: f64) -> f64 {
    let decade = 10_f64.powf((end / 10.0).log10().ceil());
    let fits = |step: &f64| end / step >= 5.0;
    [decade, decade / 2.0, decade / 5.0].into_iter().find(fits).unwrap_or(decade / 10.0)
}

/// A number on an axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        // Sums of tenths are not always what they look like.
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 345.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(is_log: bool, values: &[f64]) -> Scale {
        Scale::of(is_log, values.iter().copied(), [0.0, 100.0])
    }

    #[test]
    fn every_value_is_between_the_ends_of_its_axis() {
        for values in [&[0.0, 0.3][..], &[7.0], &[2.0, 1_000.0], &[0.0, 0.0], &[1e-3, 93.0]] {
            for is_log in [false, true] {
                let scale = scale(is_log, values);
                for value in values {
                    let pixel = scale.pixel(*value);
                    assert!((-1e-9..=100.0 + 1e-9).contains(&pixel), "{values:?} {is_log} {value} {pixel}");
                }
                assert!((2..=12).contains(&scale.ticks().len()), "{values:?} {is_log} {:?}", scale.ticks());
            }
        }
    }

    #[test]
    fn a_logarithmic_axis_has_a_tick_at_every_ten_fold() {
        let axis = scale(true, &[2.0, 1_000.0]);
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(axis.label(1.0), "1");
        let axis = scale(true, &[0.0, 2.0, 1_000.0]);
        assert_eq!((axis.label(1.0), axis.label(10.0)), ("0 to 1".to_owned(), "10".to_owned()));
    }

    #[test]
    fn a_plot_says_what_it_shows_and_has_a_point_for_each_value() {
        let plot = Plot {
            title: "a < b",
            x: Axis { label: "x", is_log: true },
            y: Axis { label: "y", is_log: false },
            lines: vec![Line {
                colour: "black",
                dash: "",
                points: vec![(2.0, 1.0), (16.0, 3.0)],
            }],
            legend: vec![Entry {
                label: "values".to_owned(),
                colour: "black",
                dash: "",
            }],
        };
        let svg = plot.to_svg();
        assert!(svg.contains("a &lt; b") && svg.contains(">values<"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
