use super::*;

#[test]
fn an_upstreams_refusal_of_our_key_is_never_the_clients() {
    let failure = Failure::Exhausted { fault: AttemptFault::Misconfigured { status: 403 }, attempts: 1 };
    assert_eq!(failure.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(failure.outcome(), Outcome::UpstreamError);
    assert!(failure.forbids_retry());
}

#[test]
fn a_long_name_is_not_repeated_whole() {
    let failure = Failure::UnknownModel("é".repeat(100_000));
    assert!(failure.to_string().len() < 400);
    assert!(Failure::UnknownModel("short".into()).to_string().contains("'short'"));
}

#[test]
fn a_rate_limit_is_passed_on_with_its_delay() {
    let retry_after = Some(HeaderValue::from_static("7"));
    let failure = Failure::Exhausted {
        fault: AttemptFault::RateLimited { retry_after: retry_after.clone() },
        attempts: 1,
    };
    assert_eq!(failure.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(failure.outcome(), Outcome::Limited);
    assert_eq!(failure.retry_after(), retry_after);
    assert!(failure.forbids_retry());
}
