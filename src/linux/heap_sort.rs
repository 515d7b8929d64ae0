//! The order in which the kernel's own sort leaves things (`lib/sort.c: sort`). It is a heap sort, which moves things
//! that compare equal, so what it leaves of them can be foretold but not guessed.

use alloc::vec::Vec;

/// The places of the keys in the order that the kernel would bring them into.
pub(crate) fn order(keys: &[i64]) -> Vec<usize> {
    let count = keys.len();
    let mut order: Vec<usize> = (0..count).collect();
    if count < 2 {
        return order;
    }
    let key = |order: &[usize], at: usize| order.get(at).and_then(|place| keys.get(*place)).copied();
    // First a heap is built from the middle down; then the two largest are taken off it at a time.
    let (mut size, mut at, mut step) = (count, count / 2, 1_usize);
    loop {
        if at > 0 {
            at = at.saturating_sub(step);
        } else if size > 3 {
            size = size.saturating_sub(1);
            swap(&mut order, 0, size);
            step = if key(&order, 1) <= key(&order, 2) { 2 } else { 1 };
            at = step;
            size = size.saturating_sub(1);
            swap(&mut order, at, size);
        } else {
            break;
        }
        sift(&mut order, at, size, &key);
    }
    size = size.saturating_sub(1);
    swap(&mut order, 0, size);
    if size == 2 && key(&order, 0) > key(&order, 1) {
        swap(&mut order, 0, 1);
    }
    order
}

/// Moves one thing down to where it belongs: first to the bottom along the larger children, then back up.
fn sift(order: &mut [usize], at: usize, size: usize, key: &impl Fn(&[usize], usize) -> Option<i64>) {
    let mut place = at;
    let last = loop {
        let child = place.saturating_mul(2).saturating_add(1);
        let sibling = child.saturating_add(1);
        if sibling >= size {
            break (sibling == size).then_some(child);
        }
        place = if key(order, child) > key(order, sibling) { child } else { sibling };
    };
    place = last.unwrap_or(place);
    while place != at && key(order, at) >= key(order, place) {
        place = parent(place);
    }
    let goal = place;
    while place != at {
        place = parent(place);
        swap(order, place, goal);
    }
}

const fn parent(place: usize) -> usize {
    place.saturating_sub(1) / 2
}

fn swap(order: &mut [usize], one: usize, other: usize) {
    if one < order.len() && other < order.len() {
        order.swap(one, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_in_order() {
        // Every sequence of six keys from four values.
        for number in 0..4_u32.pow(6) {
            for length in 0..=6 {
                let keys: Vec<i64> = (0..length).map(|digit| i64::from(number >> (2 * digit) & 3)).collect();
                let order = order(&keys);
                let sorted: Vec<i64> = order.iter().map(|place| keys[*place]).collect();
                let mut places = order.clone();
                places.sort_unstable();
                assert!(sorted.is_sorted(), "{keys:?}: {order:?}");
                assert!(places.iter().copied().eq(0..keys.len()), "{keys:?}: {order:?}");
            }
        }
    }

    #[test]
    fn two_that_are_equal_change_places() {
        // Seen on 7.2.12: two devices without a position.
        assert_eq!(order(&[-6, -6]), [1, 0]);
        assert_eq!(order(&[]), [0_usize; 0]);
    }
}
