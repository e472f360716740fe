//! Reads a service template with many node templates, and prints the time and the peak of memory.
//!
//! `cargo run --release -p tko-tosca --example many [NODES]`. Half of the nodes are applications
//! with properties, functions and a requirement each, the other half their hosts. Every second
//! application names its host; the others get the first free one. The peak is that of the whole
//! process, text and result included, as Linux counts it. Fails if up to 10,000 nodes take more than
//! two seconds of the processor, or more than 200 MB.

use serde_json::Map;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tko_tosca::{Csar, ToscaLimits, read};

/// The types of the nodes.
const TYPES: &str = "tosca_definitions_version: tosca_simple_yaml_1_3
capability_types:
  Hosting: {properties: {cores: {type: integer, default: 2}}}
relationship_types:
  RunsOn: {}
node_types:
  Host:
    properties:
      region: {type: string, metadata: {nephio.kind: Site, nephio.target: select.region}}
      racks: {type: list, entry_schema: string, default: [a, b]}
    capabilities: {hosting: {type: Hosting, occurrences: [0, 1]}}
  App:
    properties:
      name: {type: string}
      port: {type: integer, constraints: [{in_range: [1, 65535]}]}
      size: {type: scalar-unit.size, default: 4 GB}
      labels: {type: map, entry_schema: string}
    requirements: [{host: {capability: Hosting, relationship: RunsOn}}]
topology_template:
  inputs: {region: {type: string, default: west}}
  node_templates:
";

fn main() {
    let nodes: usize = std::env::args()
        .nth(1)
        .map_or(10_000, |text| text.parse().expect("a number of nodes"));
    let mut text = TYPES.to_owned();
    for number in 0..nodes / 2 {
        let port = 1 + number % 65_535;
        let _ = write!(
            text,
            "    host{number}:\n      type: Host\n      properties: {{region: {{get_input: region}}}}\n    \
             app{number}:\n      type: App\n      properties:\n        name: {{concat: [app, '-', \
             {number}]}}\n        port: {port}\n        labels: {{tier: gold, region: {{get_property: \
             [host{number}, region]}}}}\n"
        );
        if number % 2 == 0 {
            let _ = writeln!(text, "      requirements: [{{host: host{number}}}]");
        }
    }
    let bytes = text.len();
    let (before, spent) = (peak(), processor());
    let started = Instant::now();
    let limits = ToscaLimits::default();
    let csar = Csar::from_text("service.yaml", &text);
    let topology = read(&csar, &Map::new(), &limits).unwrap_or_else(|problems| {
        panic!("{} problems, the first: {}", problems.len(), problems[0]);
    });
    let took = started.elapsed();
    let relationships: usize = topology.nodes.values().map(|n| n.relationships.len()).sum();
    let (spent, peak_now) = (processor().saturating_sub(spent), peak());
    println!(
        "{} node templates, {relationships} relationships, {} MB of text: {:.3} s, of which {:.3} s on \
         the processor; peak {} MB (before: {} MB)",
        topology.nodes.len(),
        bytes / 1_000_000,
        took.as_secs_f64(),
        spent.as_secs_f64(),
        peak_now >> 10,
        before >> 10,
    );
    if topology.nodes.len() <= 10_000 {
        assert!(spent < Duration::from_secs(2), "more than two seconds");
        assert!(peak_now < 200 << 10, "more than 200 MB");
    }
}

/// The most memory that this process has had, in KiB; 0 where Linux does not say it.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

/// The time that this thread has had a processor, where Linux says it: on a busy machine less than
/// the time on the clock.
fn processor() -> Duration {
    let counts = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = counts.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
