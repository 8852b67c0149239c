//! Error codes have the numbers, names and retriability that `kafka-protocol` knows.

use kafka_protocol::ResponseError;
use streamledger_protocol::ErrorCode;

/// Retriable in Apache Kafka 4.3 (`ConcurrentTransactionsException`), not with the oracle.
const ORACLE_ERRS: &[ErrorCode] = &[ErrorCode::ConcurrentTransactions];

#[test]
fn every_error_code_is_the_oracles() {
    let (mut erring, mut compared) = (Vec::new(), 0);
    for &ours in ErrorCode::ALL.iter().filter(|&&ours| ours != ErrorCode::None) {
        let oracle = ResponseError::try_from_code(ours.code());
        let oracle = oracle.unwrap_or_else(|| panic!("the oracle lacks {ours}"));
        assert_eq!(format!("{ours:?}"), format!("{oracle:?}"));
        if ours.is_retriable() != oracle.is_retriable() {
            erring.push(ours);
        }
        compared += 1;
    }
    println!("{compared} error codes compared with kafka-protocol");
    assert_eq!(erring, ORACLE_ERRS);
    assert_eq!(compared, 134);
}
