//! Which replica to start or retire next. Pure: looks at a picture, returns moves.
//!
//! Rules: with nothing old, everything missing starts at once. Otherwise one replica at a time, and a
//! ready old one goes only when enough others are ready. A workload that mounts volumes never has two
//! revisions on them at once: there the old one goes first. While a new replica is not ready, no
//! further old one goes, so that a bad revision never takes the whole workload.

/// What matters of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) index: u32,
    /// Runs what is wanted now.
    pub(super) current: bool,
    pub(super) ready: bool,
    /// Already on its way out.
    pub(super) retiring: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Start a replica in this free slot.
    Start(u32),
    /// Take the replica at this place of the picture out.
    Retire(usize),
}

/// The moves that are right now for `wanted` replicas; calling again after them converges.
pub(super) fn decide(views: &[View], wanted: usize, in_place: bool) -> Vec<Move> {
    let live = || views.iter().enumerate().filter(|(_, view)| !view.retiring);
    let mut old: Vec<(usize, &View)> = live().filter(|(_, view)| !view.current).collect();
    let mut current: Vec<(usize, &View)> = live().filter(|(_, view)| view.current).collect();
    let gone_first = |a: &(usize, &View), b: &(usize, &View)| (a.1.ready, b.1.index).cmp(&(b.1.ready, a.1.index));
    old.sort_by(gone_first);
    current.sort_by(gone_first);
    if wanted == 0 {
        return live().map(|(at, _)| Move::Retire(at)).collect();
    }
    if current.len() > wanted {
        return current.iter().take(current.len() - wanted).map(|(at, _)| Move::Retire(*at)).collect();
    }
    let busy = views.iter().any(|view| view.retiring);
    let all_ready = current.iter().all(|(_, view)| view.ready);
    let occupied = if in_place { views.len() } else { current.len() };
    if old.is_empty() {
        return free(views).take(wanted.saturating_sub(occupied)).map(Move::Start).collect();
    }
    let total = old.len() + current.len();
    let ready = live().filter(|(_, view)| view.ready).count();
    if in_place {
        if busy || !all_ready {
            return Vec::new();
        }
        if total >= wanted {
            return old.first().map(|(at, _)| Move::Retire(*at)).into_iter().collect();
        }
        return free(views).take(1).map(Move::Start).collect();
    }
    let spare = |view: &View| if view.ready { ready > wanted } else { all_ready };
    if let Some((at, _)) = old.first().filter(|(_, view)| total > wanted && spare(view)) {
        return vec![Move::Retire(*at)];
    }
    if all_ready && !busy && total <= wanted && current.len() < wanted {
        return free(views).take(1).map(Move::Start).collect();
    }
    Vec::new()
}

/// Slots nobody sits in, lowest first.
fn free(views: &[View]) -> impl Iterator<Item = u32> + '_ {
    (0..).filter(|index| !views.iter().any(|view| view.index == *index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(index: u32, current: bool, ready: bool) -> View {
        View { index, current, ready, retiring: false }
    }

    /// Plays a rollout in which new replicas become ready only if `good`; returns the picture at the
    /// end and the fewest ready ones on the way.
    fn play(mut views: Vec<View>, wanted: usize, in_place: bool, good: bool) -> (Vec<View>, usize) {
        let mut fewest = usize::MAX;
        for _ in 0..100 {
            let moves = decide(&views, wanted, in_place);
            if moves.is_empty() && views.iter().all(|view| !view.retiring) {
                break;
            }
            for step in &moves {
                match step {
                    Move::Start(index) => views.push(view(*index, true, good)),
                    Move::Retire(at) => views[*at].retiring = true,
                }
            }
            fewest = fewest.min(views.iter().filter(|view| view.ready && !view.retiring).count());
            if moves.is_empty() {
                views.retain(|view| !view.retiring);
            }
            assert!(views.len() <= wanted + 2, "{views:?}");
        }
        (views, fewest)
    }

    #[test]
    fn a_good_revision_replaces_everything_without_a_gap() {
        for n in 1..4 {
            let old = (0..n).map(|i| view(i, false, true)).collect();
            let (end, fewest) = play(old, n as usize, false, true);
            assert!(end.len() == n as usize && end.iter().all(|view| view.current && view.ready), "{end:?}");
            assert!(fewest >= n as usize, "{fewest} of {n}");
        }
    }

    #[test]
    fn a_bad_revision_leaves_the_old_one_serving_and_can_be_left_again() {
        let (stuck, fewest) = play(vec![view(0, false, true), view(1, false, true)], 2, false, false);
        assert_eq!((fewest, stuck.len()), (2, 3));
        let back: Vec<View> = stuck.iter().map(|v| View { current: false, ..*v }).collect();
        let (end, fewest) = play(back, 2, false, true);
        assert!(fewest >= 2 && end.len() == 2 && end.iter().all(|view| view.current), "{end:?}");
    }

    #[test]
    fn broken_old_replicas_do_not_block() {
        let (end, _) = play(vec![view(0, false, false), view(1, false, false)], 2, false, true);
        assert!(end.len() == 2 && end.iter().all(|view| view.current), "{end:?}");
        let (end, _) = play(vec![view(0, false, false)], 1, true, true);
        assert!(end.len() == 1 && end[0].current && end[0].index == 0, "{end:?}");
    }

    #[test]
    fn volumes_see_one_revision_at_a_time_and_a_bad_one_stops_after_the_first() {
        let old = vec![view(0, false, true), view(1, false, true)];
        let (end, fewest) = play(old.clone(), 2, true, true);
        assert!(end.iter().all(|view| view.current) && end.len() == 2 && fewest >= 1, "{end:?}");
        let (end, _) = play(old, 2, true, false);
        assert_eq!(end.iter().filter(|view| !view.current && view.ready).count(), 1, "{end:?}");
    }

    #[test]
    fn scales_both_ways() {
        assert_eq!(play(vec![], 3, false, true).0.len(), 3);
        assert_eq!(decide(&[view(0, true, true)], 3, false), [Move::Start(1), Move::Start(2)]);
        let three = [view(0, true, true), view(1, true, false), view(2, true, true)];
        assert_eq!(decide(&three, 1, false), [Move::Retire(1), Move::Retire(2)], "the sick one goes first");
        assert_eq!(decide(&three, 0, false).len(), 3);
    }
}
