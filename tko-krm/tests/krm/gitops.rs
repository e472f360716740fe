//! The objects of docs/gitops.md, applied as GitOps tools do.

use crate::kubectl::Kubectl;
use crate::serving::Serving;
use std::path::Path;

/// The objects of TKO in the document, in its order.
fn objects() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gitops.md");
    let text = std::fs::read_to_string(path).expect("the document");
    text.split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.contains("apiVersion: tko.nephio.org/"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_objects_of_the_document_about_gitops_are_applied_and_applied_again() {
    let objects = objects();
    assert_eq!(objects.len(), 3);
    let serving = Serving::start().await;
    for kubectl in Kubectl::all(&serving) {
        let apply = async || {
            let mut versions = Vec::new();
            for object in &objects {
                let words = "apply --server-side --field-manager=gitops -f - -o \
                             jsonpath={.metadata.resourceVersion}";
                let words: Vec<&str> = words.split_whitespace().collect();
                versions.push(kubectl.with_input(&words, object).await.ok());
            }
            versions
        };
        let first = apply().await;
        assert_eq!(apply().await, first, "another apply changes nothing");
        let colour = kubectl
            .run("get deployment.tko web-north-1 -o jsonpath={.spec.package.resources[*].data.colour}")
            .await;
        assert_eq!(colour.ok(), "green");
        // What left the repository is pruned by label or by name.
        for name in [
            "deployment.tko web-north-1",
            "site india-002fnorth-002fedge-002d0001",
            "template shop-002fweb-003av1.0.0",
        ] {
            kubectl.run(&format!("delete {name}")).await.ok();
        }
    }
    serving.stop().await;
}
