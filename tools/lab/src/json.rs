//! JSON for people: what fits on a line stays on it.

use serde_json::Value;

const WIDTH: usize = 110;

/// The value with a line break at the end.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, indent: usize, text: &mut String) {
    let plain = value.to_string();
    let short = plain.len() + indent <= WIDTH && indent > 0;
    let items: Vec<(Option<String>, &Value)> = match value {
        Value::Array(items) if !short => items.iter().map(|item| (None, item)).collect(),
        Value::Object(items) if !short => {
            items.iter().map(|(key, item)| (Some(Value::from(key.as_str()).to_string()), item)).collect()
        }
        _ => return text.push_str(&plain),
    };
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(open);
    for (index, (key, item)) in items.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.extend(std::iter::repeat_n(' ', indent + 1));
        if let Some(key) = key {
            text.push_str(key);
            text.push_str(": ");
        }
        write(item, indent + 1, text);
    }
    text.push('\n');
    text.extend(std::iter::repeat_n(' ', indent));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_stay_on_a_line() {
        assert_eq!(
            pretty(&json!({"a": [1, 2], "b": {"c": null}})),
            "{\n \"a\": [1,2],\n \"b\": {\"c\":null}\n}\n"
        );
        let long = json!({"a": vec![1_000_000_000; 12]});
        assert_eq!(serde_json::from_str::<Value>(&pretty(&long)).ok(), Some(long.clone()));
        assert_eq!(pretty(&long).lines().count(), 16);
    }
}
