//! Writes figures as JSON and plots as SVG.

use super::report::{Moment, Report};
use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, Palette,
    Palette99, PathElement, RGBAColor, SVGBackend, WHITE,
};
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A line of a plot: its name and its points.
type Line = (String, Vec<(f64, f64)>);

/// The number that a plot shows of each moment.
type Count = fn(&Moment) -> usize;

/// Width and height of a plot, in pixels.
const SIZE: (u32, u32) = (880, 520);

/// Writes `postgres-NAME.json`, and a plot of each group of figures in it.
pub(crate) fn write(folder: &Path, name: &str, report: &Report) -> Done {
    std::fs::create_dir_all(folder)?;
    let file = |what: &str| folder.join(format!("postgres-{name}{what}"));
    let json = serde_json::to_string_pretty(&report.json())?;
    std::fs::write(file(".json"), json + "\n")?;
    let growing = [
        (
            "/s",
            "-rates.svg",
            "Rates, against those at the smallest size",
        ),
        (
            " buffers",
            "-buffers.svg",
            "Buffers of a page, against those at the smallest size",
        ),
    ];
    for (unit, suffix, title) in growing {
        let lines: Vec<Line> = report.curves(unit).into_iter().map(relative).collect();
        if !lines.is_empty() {
            let path = file(suffix);
            let area = SVGBackend::new(&path, SIZE).into_drawing_area();
            growth(&area, title, &lines)?;
            area.present()?;
        }
    }
    if !report.fleets().is_empty() {
        let path = file(".svg");
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        fleets(&area, report.fleets())?;
        area.present()?;
    }
    Ok(())
}

/// Divides all values by the first.
fn relative((name, points): (&str, Vec<(f64, f64)>)) -> Line {
    let first = points.first().map_or(1.0, |(_, value)| *value);
    let points = points.into_iter().map(|(x, y)| (x, y / first));
    (name.to_owned(), points.collect())
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn growth(area: &Area<'_>, title: &str, lines: &[Line]) -> Done {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let least = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let (right, top) = (
        most(points().map(|(x, _)| *x)),
        most(points().map(|(_, y)| *y)),
    );
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((least..right).log_scale(), 0.0..top.max(1.0) * 1.6)?;
    chart
        .configure_mesh()
        .x_desc("deployments")
        .y_desc("times")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let color = color(index);
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// Draws the prepared and placed deployments over time, each as a share of all.
fn fleets(area: &Area<'_>, fleets: &[(usize, Vec<Moment>)]) -> Done {
    let moments = fleets.iter().flat_map(|(_, moments)| moments);
    let end = most(moments.map(|moment| moment.at.as_secs_f64()));
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption("A topology on its way to its sites", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(
            0.0..end,
            0.0..most(fleets.iter().map(|(size, _)| float(*size))),
        )?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("deployments")
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let mut index = 0;
    for (size, moments) in fleets {
        let of: [(&str, Count); 2] = [
            ("prepared", |m| m.prepared),
            ("on their sites", |m| m.placed),
        ];
        for (what, count) in of {
            let color = color(index);
            index += 1;
            let points = moments
                .iter()
                .map(|m| (m.at.as_secs_f64(), float(count(m))));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(format!("{what}, of {size}"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        }
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

fn color(index: usize) -> RGBAColor {
    Palette99::pick(index).mix(1.0)
}

#[allow(clippy::cast_precision_loss)] // Far below 2^52.
fn float(number: usize) -> f64 {
    number as f64
}
