//! Nouns survive the way through bytes, whatever is left out of them, and through the JSON of tools.

use std::fmt::Debug;
use std::time::Duration;

use ciborium::Value;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::strategies::*;
use super::*;

fn through_cbor<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    ciborium::from_reader(&bytes[..]).unwrap()
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    prop_assert_eq!(&through_cbor(value), value);
    let json = serde_json::to_vec(value).unwrap();
    prop_assert_eq!(&serde_json::from_slice::<T>(&json).unwrap(), value);
    Ok(())
}

proptest! {
    #[test]
    fn a_description_comes_back_as_it_was(spec in spec()) {
        survives(&spec)?;
    }

    #[test]
    fn the_end_of_an_attempt_comes_back_as_it_was(end in end()) {
        survives(&end)?;
        let _ = (end.outcome.to_string(), end.outcome.exit_code(), end.stdout.dropped());
    }

    #[test]
    fn a_record_comes_back_as_it_was(record in record()) {
        survives(&record)?;
    }

    #[test]
    fn limits_and_policies_come_back_as_they_were(limits in limits(), retry in retry(), failed: u32) {
        survives(&limits)?;
        survives(&retry)?;
        prop_assert!(retry.wait_after(failed) <= retry.backoff_max);
    }

    /// What a version that leaves out less would have written reads the same.
    #[test]
    fn defaults_may_be_written_out(end in end()) {
        let Value::Map(mut map) = Value::serialized(&end).unwrap() else { panic!("not a map") };
        let text = |text: &str| Value::Text(text.to_owned());
        for name in ["stdout", "stderr"] {
            if !map.iter().any(|(key, _)| key.as_text() == Some(name)) {
                let whole = vec![(text("tail"), Value::Bytes(Vec::new())), (text("total"), Value::Integer(0.into()))];
                map.push((text(name), Value::Map(whole)));
            }
        }
        prop_assert_eq!(through_cbor::<Value>(&Value::Map(map)).deserialized::<AttemptEnd>().unwrap(), end);
    }
}

#[test]
fn a_duration_longer_than_its_number_is_cut_and_not_wrapped() {
    let most = Duration::from_nanos(u64::MAX);
    for (long, kept) in [(Duration::MAX, most), (most + Duration::from_nanos(1), most), (most, most)] {
        let limits = Limits { wall: Some(long), ..Limits::default() };
        assert_eq!(through_cbor(&limits).wall, Some(kept));
        assert_eq!(through_cbor(&Outcome::TimedOut { limit: long }), Outcome::TimedOut { limit: kept });
    }
}
