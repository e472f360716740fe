//! [`ScreenTheme`]: the styles, with and without colours.

use ratatui::style::{Color, Modifier, Style};
use tko_core::view::DeploymentState;

/// The styles of the screen. Without colours, marks and words convey the same information.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreenTheme {
    has_colours: bool,
}

impl ScreenTheme {
    /// The theme with or without colours.
    pub(crate) fn new(has_colours: bool) -> Self {
        Self { has_colours }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.has_colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    pub(crate) fn plain(self) -> Style {
        let _ = self.has_colours;
        Style::new()
    }

    pub(crate) fn strong(self) -> Style {
        self.plain().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn dim(self) -> Style {
        if self.has_colours {
            Style::new().fg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub(crate) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn key(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn bar(self) -> Style {
        if self.has_colours {
            Style::new().bg(Color::Indexed(236)).fg(Color::White)
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }

    pub(crate) fn chosen(self) -> Style {
        self.plain().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn matched(self) -> Style {
        self.coloured(Color::Yellow)
            .add_modifier(Modifier::UNDERLINED)
    }

    /// The style of a state, and a mark that distinguishes states without colours. The web
    /// dashboard has the same marks.
    pub(crate) fn state(self, state: DeploymentState) -> (&'static str, Style) {
        match state {
            DeploymentState::Scheduled => ("●", self.coloured(Color::Green)),
            DeploymentState::Approved => ("◐", self.coloured(Color::Cyan)),
            DeploymentState::Waiting => ("◆", self.coloured(Color::Yellow)),
            DeploymentState::Unprepared => ("○", self.dim()),
            DeploymentState::Failing => ("▲", self.bad()),
            DeploymentState::Deleting => ("×", self.coloured(Color::Magenta)),
        }
    }
}
