use super::*;

fn store(folder: &tempfile::TempDir) -> KeyStore {
    KeyStore::open(&Database::Sqlite(folder.path().join("keys.db"))).unwrap()
}

fn new(name: &str) -> NewKey {
    NewKey { tenant: "t".to_owned(), name: Some(name.to_owned()), ..NewKey::default() }
}

#[test]
fn a_key_is_kept_as_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let budgets = vec![read_budget("0.25/day").unwrap(), read_budget("100/total").unwrap()];
    let expires = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    let wanted = NewKey { project: Some("p".to_owned()), expires, budgets, ..new("ci") };
    let (made, secret) = store.create(wanted).unwrap();
    assert!(secret.starts_with("pm-") && secret.len() == 46, "{secret}");
    assert!(secret.starts_with(&made.prefix) && made.prefix.len() == 11);
    let kept = self::store(&folder).keys().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((&kept[0].key, &kept[0].tenant), (&made.key, &made.tenant));
    assert_eq!(kept[0].key.digest, KeyDigest::of(&secret));
    let file = std::fs::read(folder.path().join("keys.db")).unwrap();
    let wal = std::fs::read(folder.path().join("keys.db-wal")).unwrap_or_default();
    let shown = |bytes: &[u8]| bytes.windows(20).any(|window| window == &secret.as_bytes()[..20]);
    assert!(!shown(&file) && !shown(&wal));
    let (_, other) = store.create(new("other")).unwrap();
    assert_ne!(secret, other);
}

#[test]
fn a_name_stands_for_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let (first, _) = store.create(new("ci")).unwrap();
    let version = store.versions().unwrap().keys;
    assert!(matches!(store.create(new("ci")), Err(StoreError::Taken { .. })));
    assert_eq!(store.versions().unwrap().keys, version, "nothing was changed");
    store.create(NewKey { tenant: "other".to_owned(), ..new("ci") }).unwrap();
    store.revoke(&first.id).unwrap();
    assert!(matches!(store.revoke(&first.id), Err(StoreError::Unknown(_))));
    assert!(matches!(store.rotate(&first.id, Duration::ZERO), Err(StoreError::Unknown(_))));
    store.create(new("ci")).unwrap();
    assert_eq!(store.versions().unwrap().keys, version + 3);
    assert_eq!(store.keys().unwrap().len(), 2);
}

#[test]
fn a_rotated_key_ends_after_the_overlap() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let (old, old_secret) =
        store.create(NewKey { budgets: vec![read_budget("5/day").unwrap()], ..new("ci") }).unwrap();
    let (new, new_secret) = store.rotate(&old.id, Duration::from_secs(3600)).unwrap();
    assert_ne!(old_secret, new_secret);
    assert_eq!((&new.key.label, &new.key.budgets, new.key.expires), (&old.key.label, &old.key.budgets, None));
    let kept = store.keys().unwrap();
    let ends = kept.iter().find(|key| key.id == old.id).unwrap().key.expires.unwrap();
    let left = ends.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
    // Another rotation does not let it live longer.
    store.rotate(&old.id, Duration::from_secs(100_000)).unwrap();
    assert_eq!(store.keys().unwrap().iter().find(|key| key.id == old.id).unwrap().key.expires, Some(ends));
}

#[test]
fn budgets_are_read_as_they_are_written() {
    for text in ["5/week", "5", "/day", "-1/day", "x/day", "5/day/day"] {
        assert_eq!(read_budget(text), None, "{text}");
    }
    let rules = vec![read_budget("5/day").unwrap(), read_budget("0.000000000001/month").unwrap()];
    assert_eq!(read(&written(&rules)), rules);
    assert_eq!(read(&written(&[])), []);
}
