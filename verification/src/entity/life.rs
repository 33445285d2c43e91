//! Life cycles, as `api.md` §2 gives them: states, moves, and the calls that
//! ask for a move.

/// A life cycle.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// The column of the state.
    pub column: &'static str,
    /// All states; the first is the one a row is created in.
    pub states: &'static [&'static str],
    /// The moves that `api.md` lists under "Moves".
    pub moves: &'static [(&'static str, &'static str)],
    /// The calls that ask for a move.
    pub verbs: &'static [Verb],
    /// The INSERT of a row `$id` in state `$state`, by SQL.
    pub row: &'static str,
}

/// A call that asks for a move.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// The call, with `$id` for the row and the names of `scene::ROWS` for what
    /// else there is.
    pub call: &'static str,
    /// Where it leads.
    pub to: &'static str,
    /// From where it leads there: it returns true.
    pub from: &'static [&'static str],
    /// States in which it answers this and writes nothing. In all others it
    /// is 55000 and names the state.
    pub already: (&'static [&'static str], bool),
    /// Whether the move is a way back that "Moves" does not list.
    pub beside: bool,
}

/// A verb from these states to that one; in the states of `already` it has
/// been done before: false.
#[must_use]
pub const fn verb(
    call: &'static str,
    from: &'static [&'static str],
    to: &'static str,
    already: &'static [&'static str],
) -> Verb {
    Verb {
        call,
        to,
        from,
        already: (already, false),
        beside: false,
    }
}

impl Verb {
    /// The same verb; in the state that it leads to it answers true.
    #[must_use]
    pub const fn true_again(self) -> Self {
        Self {
            already: (self.already.0, true),
            ..self
        }
    }

    /// The same verb, whose move "Moves" does not list.
    #[must_use]
    pub const fn beside(self) -> Self {
        Self {
            beside: true,
            ..self
        }
    }
}

impl Life {
    /// Whether a row may move so.
    #[must_use]
    pub fn allows(&self, from: &str, to: &str) -> bool {
        self.moves.contains(&(from, to))
    }
}

#[cfg(test)]
mod tests {
    use crate::entity::described;
    use std::collections::BTreeSet;

    /// What the verbs do is what "Moves" lists, and every verb knows what it
    /// says in every state.
    #[test]
    fn verbs_make_the_moves() {
        for entity in described() {
            let Some(life) = entity.life() else { continue };
            let moves: BTreeSet<_> = life.moves.iter().copied().collect();
            let made: BTreeSet<_> = life
                .verbs
                .iter()
                .filter(|verb| !verb.beside)
                .flat_map(|verb| verb.from.iter().map(|from| (*from, verb.to)))
                .collect();
            let name = entity.table().entity;
            assert_eq!(moves, made, "{name}");
            for verb in life.verbs {
                for state in verb.from.iter().chain(verb.already.0).chain([&verb.to]) {
                    assert!(life.states.contains(state), "{name}: {state}");
                }
                assert!(verb.from.iter().all(|from| !verb.already.0.contains(from)));
            }
            assert_eq!(
                entity.table().column(life.column).one_of,
                life.states,
                "{name}"
            );
        }
    }
}
