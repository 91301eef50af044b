//! Which server of a cluster has which slots, as one of them tells it.

use std::ops::RangeInclusive;

use redis::{Cmd, Value, cmd};

use crate::address::Address;
use crate::groups::SLOTS;
use crate::told::{Wrong, not_refused};

/// Slots, and the primary that has them.
pub(crate) type Range = (RangeInclusive<u16>, Address);

/// What a server of a cluster is asked.
pub(crate) fn question() -> Cmd {
    let mut question = cmd("CLUSTER");
    question.arg("SLOTS");
    question
}

/// Reads the answer of the server that was `asked`, in order.
pub(crate) fn read(answer: &Value, asked: &Address) -> Result<Vec<Range>, Wrong> {
    if let Err(Wrong::Refused(said)) = not_refused(answer)
        && said.contains("cluster support disabled")
    {
        return Err(Wrong::NoCluster(asked.host()));
    }
    not_refused(answer)?;
    let Value::Array(ranges) = answer else { return Err(Wrong::Form) };
    let mut all = Vec::with_capacity(ranges.len());
    for told in ranges {
        all.extend(range(told, asked)?);
    }
    all.sort_by_key(|(slots, _)| *slots.start());
    Ok(all)
}

/// The slots that nobody has.
pub(crate) fn missing(ranges: &[Range]) -> Vec<RangeInclusive<u16>> {
    let (mut next, mut missing) = (0, Vec::new());
    for (slots, _) in ranges {
        if *slots.start() > next {
            missing.push(next..=slots.start().saturating_sub(1));
        }
        next = next.max(slots.end().saturating_add(1));
    }
    if next < SLOTS {
        missing.push(next..=SLOTS.saturating_sub(1));
    }
    missing
}

fn range(told: &Value, asked: &Address) -> Result<Option<Range>, Wrong> {
    let Value::Array(parts) = told else { return Err(Wrong::Form) };
    // What follows the primary are its replicas.
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else {
        return Err(Wrong::Form);
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return Err(Wrong::Form) };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS).ok_or(Wrong::Form);
    let slots = slot(first)?..=slot(last)?;
    let port = u16::try_from(*port).map_err(|_| Wrong::Form)?;
    let host = if let Value::BulkString(bytes) = host {
        str::from_utf8(bytes).map_err(|_| Wrong::Form)?
    } else if let Value::Nil = host {
        ""
    } else {
        return Err(Wrong::Form);
    };
    // A server that shall be called by its name and was given none cannot be reached.
    Ok((host != "?").then(|| (slots, asked.beside_of(host, port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(Vec::new())])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn primaries_are_read_and_what_nobody_has_is_told() {
        let asked = Address::parse("redis://10.0.0.9:7000").unwrap();
        let slots = |first, last, primary| {
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                primary,
                self::primary(text("replica"), 1),
            ])
        };
        let answer = Value::Array(vec![
            slots(9_000, 16_000, primary(text("10.0.0.1"), 7001)),
            slots(0, 5_000, primary(Value::Nil, 7000)),
            slots(6_000, 6_000, primary(text("?"), 7003)),
            slots(5_001, 5_999, primary(text(""), 7002)),
        ]);
        let ranges = read(&answer, &asked).unwrap();
        let told: Vec<_> = ranges.iter().map(|(slots, at)| (*slots.start(), at.host())).collect();
        let expected = [(0, "10.0.0.9:7000"), (5_001, "10.0.0.9:7002"), (9_000, "10.0.0.1:7001")];
        assert_eq!(told, expected.map(|(slot, host)| (slot, host.to_owned())));
        assert_eq!(missing(&ranges), [6_000..=8_999, 16_001..=16_383]);
        assert_eq!(missing(&[]), [0..=16_383]);
        let whole = read(&Value::Array(vec![slots(0, 16_383, primary(text("h"), 1))]), &asked).unwrap();
        assert!(missing(&whole).is_empty());
    }

    #[test]
    fn what_is_no_cluster_says_so() {
        let asked = Address::parse("redis://h").unwrap();
        let said = |said: &str| redis::parse_redis_value(said.as_bytes()).unwrap();
        let error = read(&said("-ERR This instance has cluster support disabled\r\n"), &asked).unwrap_err();
        assert_eq!(error, Wrong::NoCluster("h:6379".to_owned()));
        assert!(matches!(read(&said("-NOAUTH who is it\r\n"), &asked), Err(Wrong::Refused(_))));
        assert_eq!(read(&said("*1\r\n*2\r\n:0\r\n:70000\r\n"), &asked), Err(Wrong::Form));
    }
}
