//! What a restart finds, after a clean stop and after a crash.

use super::*;

#[test]
fn what_was_appended_is_read_back_and_survives_a_clean_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = create(&store, 0);
    for n in 0..40 {
        let outcome = produce(&partition, batch(Some((5, n * 10))));
        assert_eq!(outcome.base_offset, Offset(i64::from(n) * 10));
    }
    let before = consume(&partition, Offset(0));
    assert_eq!(batches(&before).count(), 40);
    store.close().unwrap();
    let store = open_with(directory.path(), |_| {});
    let partition = store.partition(&clicks(0)).unwrap();
    assert_eq!((partition.log_end_offset(), partition.topic_id()), (Offset(400), TOPIC_ID));
    assert_eq!(consume(&partition, Offset(0)), before);
    let again = produce(&partition, batch(Some((5, 390))));
    assert!(again.duplicate);
    assert_eq!(produce(&partition, batch(Some((5, 400)))).base_offset, Offset(400));
}
