//! Snapshots of every page at 80 × 24 and 200 × 60.

use crate::fixture::{TestDashboard, TestStore};

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

/// Goes to a page by these keys, waits for a text, and compares the screen.
async fn snapshot(name: &str, keys: &str, text: &str) {
    for (width, height) in SIZES {
        let store = TestStore::filled().await;
        let mut dashboard = TestDashboard::start(&store, width, height).await;
        dashboard.until("Why deployments").await;
        dashboard.keys_in_turn(keys).await;
        dashboard.until(text).await;
        let screen = dashboard.text();
        assert!(
            !screen.contains('\u{1b}') && !screen.contains('\u{202e}'),
            "{screen}"
        );
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[tokio::test]
async fn the_overview() {
    snapshot("overview", "", "no address pool").await;
}

#[tokio::test]
async fn the_list_of_deployments() {
    snapshot("deployments", "d", "▲ failing").await;
}

#[tokio::test]
async fn the_list_of_sites() {
    snapshot("sites", "s", "south-100").await;
}

#[tokio::test]
async fn the_list_of_templates() {
    snapshot("templates", "t", "nf/free5gc").await;
}

#[tokio::test]
async fn the_list_of_plugins() {
    snapshot("plugins", "p", "free5gc-upf").await;
}

#[tokio::test]
async fn the_page_about_the_server() {
    snapshot("about", "a", "memory").await;
}

#[tokio::test]
async fn a_deployment() {
    snapshot("deployment", "d\n", "deploymentId").await;
}

#[tokio::test]
async fn a_package() {
    snapshot("package", "ty", "10.0.0.0/8").await;
}

#[tokio::test]
async fn the_conditions_of_a_deployment() {
    snapshot("conditions", "djjjjc", "PluginFailed").await;
}

#[tokio::test]
async fn the_history_of_a_deployment() {
    snapshot("history", "dh", "created").await;
}

#[tokio::test]
async fn the_keys() {
    snapshot("keys", "?", "Ctrl-U").await;
}

#[tokio::test]
async fn a_question() {
    snapshot("question", "d jA", "yes").await;
}

#[tokio::test]
async fn a_small_terminal_says_so() {
    let store = TestStore::empty();
    let mut dashboard = TestDashboard::start(&store, 80, 24).await;
    dashboard.driver.screen.shows_keys = false;
    let small = ratatui::backend::TestBackend::new(20, 4);
    let mut terminal = ratatui::Terminal::new(small).expect("in memory");
    let theme = super::ScreenTheme::new(false);
    let screen = &dashboard.driver.screen;
    terminal
        .draw(|frame| _ = super::draw(frame, screen, theme))
        .expect("draws");
    assert!(terminal.backend().to_string().contains("needs 40"));
}
