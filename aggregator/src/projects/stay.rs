//! At which place a project's homes are, and how they move to the other. Pure.
//!
//! A move has two steps, each a term of its own. First the homes leave: nothing is granted anywhere while they end in
//! order. Once all of them have said that they have, the other place has them. So there is no moment at which both
//! grant, whatever becomes of messages and processes in between.

use shared::policy::{Place, Seat};

/// Where a project's homes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// The place that has them, or that they are leaving.
    pub place: Place,
    /// How many steps there were.
    pub term: u64,
    /// Where they are to be, while they are leaving.
    pub moving_to: Option<Place>,
}

impl Stay {
    /// Of a project whose homes never moved.
    #[must_use]
    pub const fn first(place: Place) -> Self {
        Self { place, term: 0, moving_to: None }
    }

    /// What a policy says that goes to a place.
    #[must_use]
    pub fn seat(self, place: Place) -> Seat {
        Seat { place, term: self.term, open: self.place == place && self.moving_to.is_none() }
    }

    /// What becomes of it where homes are to be at that place. Whoever asks again changes nothing; one that is on its way
    /// and is to go back ends its life first, like any other.
    #[must_use]
    pub fn leaving_for(self, to: Place) -> Self {
        match self.moving_to {
            Some(_) => Self { moving_to: Some(to), ..self },
            None if self.place == to => self,
            None => Self { term: self.term.saturating_add(1), moving_to: Some(to), ..self },
        }
    }

    /// What becomes of it once all homes have ended for this term; `None` where they are not leaving.
    #[must_use]
    pub fn arrived(self) -> Option<Self> {
        let place = self.moving_to?;
        Some(Self { place, term: self.term.saturating_add(1), moving_to: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_are_open_at_once_and_no_term_opens_twice() {
        use Place::{DurableObject, Redis};
        let mut stay = Stay::first(DurableObject);
        let mut opened = vec![(stay.term, stay.place)];
        for to in [DurableObject, Redis, Redis, DurableObject, Redis, DurableObject] {
            let before = stay;
            stay = stay.leaving_for(to);
            assert_eq!(stay.leaving_for(to), stay, "asked again");
            let open: Vec<Place> = Place::ALL.into_iter().filter(|place| stay.seat(*place).open).collect();
            let expected = if before.place == to && before.moving_to.is_none() { vec![to] } else { vec![] };
            assert_eq!(open, expected);
            if let Some(there) = stay.arrived() {
                stay = there;
                assert!(stay.seat(to).open && !stay.seat(to.other()).open);
                opened.push((stay.term, stay.place));
            }
        }
        assert_eq!(stay.arrived(), None);
        assert!(opened.windows(2).all(|pair| pair[0].0 < pair[1].0), "{opened:?}");
        assert_eq!(opened.len(), 5);
    }

    #[test]
    fn homes_that_turn_back_end_first() {
        let leaving = Stay::first(Place::Redis).leaving_for(Place::DurableObject);
        let back = leaving.leaving_for(Place::Redis);
        assert_eq!((back.term, back.moving_to), (leaving.term, Some(Place::Redis)));
        assert!(!back.seat(Place::Redis).open);
        assert_eq!(back.arrived().map(|stay| stay.seat(Place::Redis)).map(|seat| seat.term), Some(2));
    }
}
