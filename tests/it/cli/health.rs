//! `health`, as a container's health check runs it.

use std::net::TcpListener;

use super::{run, status, stderr, stdout};
use crate::{
    stand::Setup,
    upstream::{Script, Upstream},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_gateways_readiness_as_an_exit_status() {
    let upstream = Upstream::start([Script::json(200, "{}")]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    stand.eventually("the gateway serves", || stand.app.is_ready()).await;
    let ask = |path: &str| run(&["health", &format!("http://{}{path}", stand.address), "--timeout", "20"]);
    let ready = ask("/health/ready");
    assert_eq!((status(&ready), stdout(&ready).as_str()), (0, "ready\n"), "{}", stderr(&ready));
    stand.app.set_ready(false);
    let draining = ask("/health/ready");
    assert!(status(&draining) == 1 && stderr(&draining).contains("status 503"), "{}", stderr(&draining));
    assert_eq!(status(&ask("/health/live")), 0);
}

#[test]
fn what_does_not_answer_is_not_ready() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health/ready", silent.local_addr().unwrap());
    let waited = run(&["health", &url, "--timeout", "1"]);
    assert!(status(&waited) == 1 && stderr(&waited).contains("within 1 s"), "{}", stderr(&waited));
    drop(silent);
    let refused = run(&["health", &url]);
    assert!(status(&refused) == 1 && stderr(&refused).contains("no answer from"), "{}", stderr(&refused));
    let secure = run(&["health", "https://127.0.0.1:1/"]);
    assert!(status(&secure) == 2 && stderr(&secure).contains("is no http:// URL"), "{}", stderr(&secure));
}
