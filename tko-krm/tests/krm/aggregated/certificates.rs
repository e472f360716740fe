//! Certificates that are renewed while the server runs.

use super::behind::Behind;
use crate::requests::tls_client;
use std::time::Duration;
use tko_kubernetes_server::ApiServer;
use tokio::time::{Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn a_renewed_certificate_takes_effect_without_a_restart() {
    let behind = Behind::start().await;
    behind.eventually("get sites").await;
    behind.renew(&behind.second);
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let fresh = tls_client(&behind.second.pem(), None);
        let request = fresh.get(behind.direct());
        let sent = request.bearer_auth(ApiServer::token("alice")).send().await;
        if sent.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "{sent:?}");
        sleep(Duration::from_millis(300)).await;
    }
    behind.kubectl("get sites", "").await.ok();
    // A cluster that trusts the new authority alone still reaches the server.
    let registration = behind.registration(&behind.second.pem());
    behind.kubectl("apply -f -", &registration).await.ok();
    behind.eventually("get sites").await;
    let available = "get apiservice v1alpha1.tko.nephio.org -o \
                     jsonpath={.status.conditions[?(@.type==\"Available\")].status}";
    behind.until(available, |text| text == "True").await;
    // With the old one alone it does not, and says why.
    let registration = behind.registration(&behind.first.pem());
    behind.kubectl("apply -f -", &registration).await.ok();
    behind.until(available, |text| text == "False").await;
    let registration = behind.registration(&behind.second.pem());
    behind.kubectl("apply -f -", &registration).await.ok();
    behind.until(available, |text| text == "True").await;
    behind.eventually("get sites").await;
    behind.stop().await;
}
