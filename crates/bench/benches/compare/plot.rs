//! Plots, as SVG.

use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;
use crate::scale::Point;

/// Draws points on logarithmic axes; for a cost that grows also the straight line of one that grows exactly
/// as the work does, through the last point.
pub(crate) fn draw(
    path: &Path,
    title: &str,
    (x_name, y_name): (&str, &str),
    points: &[Point],
    grows: bool,
) -> Outcome<()> {
    let (first, last) = match points {
        [first, .., last] => (*first, *last),
        _ => return Err("too few points for a plot".into()),
    };
    let lowest = points
        .iter()
        .map(|point| point.1)
        .fold(f64::INFINITY, f64::min);
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    // What does not grow is not to look as if it did.
    let room = if grows { 0.5 } else { 0.1 };
    let root = SVGBackend::new(path, (720, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (first.0 * 0.8..last.0 * 1.25).log_scale(),
            (lowest * room..highest / room).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .draw()?;
    let straight = |x: f64| (x, last.1 * x / last.0);
    let visible = (last.0 * lowest * room / last.1).max(first.0 * 0.8);
    if grows {
        chart.draw_series(LineSeries::new(
            [straight(visible), straight(last.0)],
            BLACK.mix(0.25).stroke_width(1),
        ))?;
    }
    let colour = RGBColor(0x1f, 0x5f, 0xa8);
    chart.draw_series(LineSeries::new(
        points.iter().copied(),
        colour.stroke_width(2),
    ))?;
    chart.draw_series(
        points
            .iter()
            .map(|point| Circle::new(*point, 4, colour.filled())),
    )?;
    root.present()?;
    Ok(())
}

fn number(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}
