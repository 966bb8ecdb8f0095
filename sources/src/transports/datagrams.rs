//! Datagram sockets, and counts of the datagrams that the system dropped.

use std::fmt::Debug;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrLike, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::journal::Backlog;

/// Time-out of a poll for datagrams.
const PATIENCE: Duration = Duration::from_millis(20);
/// Maximum number of datagrams in one call.
const DATAGRAMS_AT_ONCE: usize = 256;
const LARGEST_DATAGRAM: usize = 65_536;
/// Receive buffer of a socket, as far as the system allows: a second of 64 boards.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;

/// A socket that receives datagrams, with one kind of address.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: OwnedFd,
    buffer: Vec<u8>,
    control: Vec<u8>,
    /// Datagrams that the system dropped for lack of room, by its own count.
    n_overrun: u32,
}

/// A received datagram.
#[derive(Debug)]
pub(super) struct Datagram<'a, A> {
    pub(super) payload: &'a [u8],
    pub(super) from: Option<A>,
    /// Datagrams that the system dropped before this one.
    pub(super) n_lost: u32,
}

impl Datagrams {
    pub(super) fn new(socket: OwnedFd) -> nix::Result<Self> {
        let patience = TimeVal::new(0, PATIENCE.subsec_micros().into());
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        // Only privileged processes may exceed the system's limit.
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BYTES)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BYTES))?;
        let (buffer, control) = (vec![0; LARGEST_DATAGRAM], cmsg_space!(u32));
        Ok(Self { socket, buffer, control, n_overrun: 0 })
    }

    /// Passes datagrams that have arrived to `tell`, at most `DATAGRAMS_AT_ONCE`; waits for the first.
    pub(super) fn take<A: SockaddrLike + Copy>(
        &mut self,
        mut tell: impl FnMut(Datagram<'_, A>),
    ) -> nix::Result<Backlog> {
        for nth in 0..DATAGRAMS_AT_ONCE {
            let flags = if nth == 0 { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
            match self.receive(flags) {
                Ok(datagram) => tell(datagram),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Backlog::Empty),
                Err(error) => return Err(error),
            }
        }
        Ok(Backlog::More)
    }

    fn receive<A: SockaddrLike + Copy>(&mut self, flags: MsgFlags) -> nix::Result<Datagram<'_, A>> {
        let mut pieces = [IoSliceMut::new(&mut self.buffer)];
        let control = Some(self.control.as_mut_slice());
        let message = recvmsg::<A>(self.socket.as_raw_fd(), &mut pieces, control, flags)?;
        let n_overrun = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::RxqOvfl(n_overrun) => Some(n_overrun),
            _ => None,
        });
        let (n_bytes, from) = (message.bytes, message.address);
        let n_lost = n_overrun.map_or(0, |now| now.wrapping_sub(self.n_overrun));
        self.n_overrun = n_overrun.unwrap_or(self.n_overrun);
        Ok(Datagram { payload: &self.buffer[..n_bytes], from, n_lost })
    }
}
