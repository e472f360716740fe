//! Runs the pages about Kubernetes on a real API server, which `cargo xtask kubernetes` builds.
//!
//! Blocks of `bash` are run here alone; those of `sh`, `console` and `yaml` as everywhere. The output of
//! the test names the commands in blocks of `text`, which are not run, with the reasons.
//!
//! No kubelet runs the pods of the chart: [`pods`] starts their programs.
//!
//! Blocks after the comment `<!-- flux -->` need Flux's kustomize-controller, and are skipped by name
//! where `cargo xtask kubernetes --flux` has not built it.
//!
//! The commands find these variables:
//!
//! | variable | value |
//! |---|---|
//! | `KUBECONFIG` | the administrator's |
//! | `DATABASE_URL` | an empty database |
//! | `PATH` | helm as well |

#[path = "flux.rs"]
mod flux;
#[path = "pods.rs"]
mod pods;
#[path = "../../../tko-helm/tests/helm/program.rs"]
#[allow(dead_code)] // This file needs one of the two ways to find helm.
mod program;

use super::not_run::{self, mark_of};
use super::{PATIENCE, Shell, Step, blocks, root, run, save, steps};
use flux::Flux;
use pods::Pods;
use std::fs;
use tko_kubernetes_server::{ApiServer, Programs};

/// The pages that are run here.
pub(super) const PAGES: [&str; 4] = [
    "docs/kubernetes.md",
    "docs/kubernetes-sites.md",
    "docs/gitops.md",
    "docs/kubernetes-api.md",
];

/// The mark before a block that needs Flux.
const FLUX: &str = "<!-- flux -->";

/// A cluster, and what is played in it.
pub(super) struct World {
    cluster: ApiServer,
    folder: tempfile::TempDir,
    pods: Pods,
    flux: Option<Flux>,
}

impl World {
    fn start() -> Self {
        let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
        Self {
            cluster: ApiServer::start(&programs).expect("it starts"),
            folder: tempfile::tempdir().expect("a folder"),
            pods: Pods::default(),
            flux: None,
        }
    }

    /// Sets what the commands find.
    fn prepare(&self, shell: &mut Shell) {
        let helm = program::helm().expect("pip can download helm");
        let home = self.folder.path().join("home");
        fs::create_dir(&home).expect("a folder");
        let server = tko_postgres_server::shared();
        let database = server.create_database().expect("a database is made");
        for command in [
            format!(
                "export KUBECONFIG={}",
                self.cluster.kubeconfig("admin").display()
            ),
            format!("export HOME={}", home.display()),
            format!("export DATABASE_URL='{}'", server.url(&database)),
            format!("PATH={}:$PATH", helm.parent().expect("a folder").display()),
            format!("cp -r {} .", root().join("deploy").display()),
            "git config --global user.name Test && git config --global user.email t@example.org"
                .to_owned(),
        ] {
            good(shell, &command);
        }
    }

    /// Does what no person does at this point: what kubelets and controllers do.
    fn before(&mut self, step: &Step, shell: &mut Shell) {
        if step.command.contains("flux.yaml") {
            self.flux = Some(Flux::start(&self.cluster, self.folder.path(), shell));
        }
        if step.command.starts_with("helm upgrade") {
            self.pods.restore(&self.cluster);
        }
        if step.command.starts_with("helm uninstall") {
            self.pods.stop();
        }
    }

    fn after(&mut self, step: &Step) {
        if step.command.starts_with("helm install") {
            self.pods.play(&self.cluster, self.folder.path());
        }
    }
}

/// Runs a command of the test itself.
pub(super) fn good(shell: &mut Shell, command: &str) -> Vec<String> {
    let (code, printed) = shell.run(command, "the test");
    assert_eq!(code, 0, "{command}:\n{}", printed.join("\n"));
    printed
}

/// The commands of the test before a heading of a page, in place of what the page leaves to its
/// readers.
fn at_heading(page: &str, heading: &str) -> &'static [&'static str] {
    match (page, heading) {
        // The page describes two set-ups; a cluster has one.
        ("docs/kubernetes.md", "### Separate") => &["helm uninstall tko --namespace tko-system"],
        // The page supposes that TKO is there.
        ("docs/gitops.md", "# GitOps for TKO itself") => &[
            "helm install tko deploy/chart --namespace tko-system --create-namespace --set \
             image.repository=registry.example/tko,manifests.mode=folder",
            "kubectl wait apiservice v1alpha1.tko.nephio.org --for=condition=Available --timeout=5m",
        ],
        _ => &[],
    }
}

/// Runs all commands of a page.
fn check(name: &str) {
    assert!(PAGES.contains(&name), "{name} is missing in `PAGES`");
    let text = fs::read_to_string(root().join(name)).expect(name);
    let lines: Vec<&str> = text.lines().collect();
    let mut world = World::start();
    let mut shell = Shell::start(false);
    world.prepare(&mut shell);
    let (mut count, mut read) = (0, 0);
    for block in blocks(&text) {
        let headings = lines[read..block.line - 2].iter();
        for heading in headings.filter(|line| line.starts_with('#')) {
            for command in at_heading(name, heading) {
                println!("{name}: before {heading:?}: {command}");
                let step = Step::of_test(command);
                world.before(&step, &mut shell);
                good(&mut shell, command);
                world.after(&step);
            }
        }
        read = block.line - 2 + block.lines.len() + 2;
        match block.language.as_str() {
            "sh" | "console" | "bash" => {
                let needs_flux = mark_of(&lines, &block) == Some(FLUX);
                for step in steps(&block) {
                    if needs_flux && !flux::is_built() {
                        println!(
                            "{name}:{}: skipped (Flux is not built): {}",
                            step.line, step.command
                        );
                        continue;
                    }
                    println!("{name}:{}: {}", step.line, step.command);
                    world.before(&step, &mut shell);
                    run(&mut shell, name, std::slice::from_ref(&step));
                    world.after(&step);
                    count += 1;
                }
            }
            "yaml" => save(&shell.work(), &format!("{name}:{}", block.line), &block),
            _ => not_run::report(name, &lines, &block),
        }
    }
    println!("{name}: {count} commands in order, each within {PATIENCE:?}");
    // The processes of the page end before the cluster.
    drop(shell);
    drop(world);
}

#[test]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
fn the_page_about_tko_on_kubernetes_works() {
    check("docs/kubernetes.md");
}

#[test]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
fn the_page_about_sites_works() {
    check("docs/kubernetes-sites.md");
}

#[test]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
fn the_page_about_gitops_works() {
    check("docs/gitops.md");
}

#[test]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
fn the_page_about_the_kubernetes_api_works() {
    check("docs/kubernetes-api.md");
}
