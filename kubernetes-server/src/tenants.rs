//! Namespaces with accounts of their own.

use crate::server::{ApiServer, kubeconfig};
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

/// The account of a tenant in its namespace.
const ACCOUNT: &str = "tko";

/// The verbs that a tenant may use.
const VERBS: [&str; 5] = ["get", "list", "create", "patch", "delete"];

impl ApiServer {
    /// Makes a namespace for each name, with an account that may read and write `ConfigMaps`, Secrets,
    /// Deployments and `slices.x.example` there, and nothing elsewhere. It may not watch. The
    /// kubeconfigs are `NAME.yaml` in this folder.
    ///
    /// # Errors
    /// A `kubectl` command fails, or a file cannot be written.
    pub fn tenants(&self, names: &[String], folder: &Path) -> io::Result<()> {
        self.tenants_with(&VERBS, names, folder)
    }

    /// Makes the same tenants, with these verbs.
    ///
    /// # Errors
    /// As [`tenants`](Self::tenants).
    pub fn tenants_with(&self, verbs: &[&str], names: &[String], folder: &Path) -> io::Result<()> {
        let objects: Vec<String> = names.iter().map(|name| objects(name, verbs)).collect();
        self.kubectl_output(&["apply", "-f", "-"], &objects.join("---\n"))?;
        for name in names {
            let words = ["create", "token", ACCOUNT, "-n", name, "--duration", "6h"];
            let token = self.kubectl_output(&words, "")?;
            let text = kubeconfig(self.port(), &self.ca(), token.trim(), Some(name));
            std::fs::write(folder.join(format!("{name}.yaml")), text)?;
        }
        Ok(())
    }

    /// Runs kubectl as the administrator, with an input; returns its output.
    ///
    /// # Errors
    /// It cannot be run, or fails; the error has its messages.
    pub fn kubectl_output(&self, arguments: &[&str], input: &str) -> io::Result<String> {
        let mut child = self
            .kubectl(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("kubectl {arguments:?}: {said}")))
    }
}

/// The objects of a tenant. The ClusterRole `admin` does not cover custom resources, so it is not
/// used.
fn objects(name: &str, verbs: &[&str]) -> String {
    let verbs = verbs.join(", ");
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\napiVersion: v1\nkind: \
         ServiceAccount\nmetadata: {{name: {ACCOUNT}, namespace: {name}}}\n---\napiVersion: \
         rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {ACCOUNT}, namespace: \
         {name}}}\nrules:\n- apiGroups: ['', apps, x.example]\n  resources: [configmaps, secrets, \
         deployments, slices]\n  verbs: [{verbs}]\n---\napiVersion: \
         rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {ACCOUNT}, namespace: \
         {name}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: \
         {ACCOUNT}}}\nsubjects: [{{kind: ServiceAccount, name: {ACCOUNT}, namespace: {name}}}]\n"
    )
}
