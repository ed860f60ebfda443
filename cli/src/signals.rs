//! What the signals of the system mean to a command that runs until it is told to stop. A thread of
//! its own hears them, so that a second Ctrl-C is heard even while the main one is stuck in a write.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// What somebody outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To come to an end in order.
    End,
    /// To read the configuration again.
    Reload,
    /// To hear how things stand.
    Status,
}

/// Hears the signals from now on until the process ends, and hands each to `tell`, which must not
/// wait. The second one that asks for the end is the end, with the code that shells give it.
pub(crate) fn listen(hangup: Wish, tell: impl Fn(Wish) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1])?;
    let hear = move || {
        let mut is_ending = false;
        for signal in signals.forever() {
            let wish = wish_of(signal, hangup);
            if wish == Wish::End {
                if is_ending {
                    // The state file survives this, as it survives a kill.
                    process::exit(128 + signal);
                }
                is_ending = true;
            }
            tell(wish);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(hear).map(drop)
}

fn wish_of(signal: i32, hangup: Wish) -> Wish {
    match signal {
        SIGUSR1 => Wish::Status,
        SIGHUP => hangup,
        _ => Wish::End,
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

    use super::{Wish, wish_of};

    #[test]
    fn only_a_hangup_has_two_meanings() {
        for hangup in [Wish::End, Wish::Reload] {
            assert_eq!(wish_of(SIGINT, hangup), Wish::End);
            assert_eq!(wish_of(SIGTERM, hangup), Wish::End);
            assert_eq!(wish_of(SIGUSR1, hangup), Wish::Status);
            assert_eq!(wish_of(SIGHUP, hangup), hangup);
        }
    }
}
