/* SPDX-License-Identifier: Apache-2.0
 *
 * TUN devices. A device that does not exist is made and goes with its descriptor; one that exists
 * is used. Packets go by the descriptor, so the device may be moved to another network namespace
 * or renamed while it is open.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void
why_not_attached (const char *name, bool existed, int error, char *err)
{
	switch (error)
	{
	case EPERM:
	case EACCES:
		engine_error (
			err,
			existed ? "no permission to use TUN device %s: run as root or with "
				  "CAP_NET_ADMIN, or let its owner run this"
				: "no permission to create TUN device %s: run as root or with "
				  "CAP_NET_ADMIN",
			name);
		break;
	case EBUSY:
		engine_error (err,
			      "TUN device %s is in use by another process: stop that one first",
			      name);
		break;
	case EINVAL:
		engine_error (
			err,
			existed ? "device %s exists but is no single-queue TUN device: choose "
				  "another name"
				: "%s cannot be the name of a device",
			name);
		break;
	default:
		engine_error (err, "TUN device %s cannot be opened: %s", name, strerror (error));
	}
}

/* Up, so that packets flow; the MTU stays what it is. */
static bool
bring_up (const char *name, uint32_t *mtu, char *err)
{
	struct ifreq ifr = { 0 };
	int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good = false;

	memcpy (ifr.ifr_name, name, strlen (name) + 1);
	if (fd >= 0 && ioctl (fd, SIOCGIFMTU, &ifr) == 0)
	{
		*mtu = (uint32_t) ifr.ifr_mtu;
		if (ioctl (fd, SIOCGIFFLAGS, &ifr) == 0)
		{
			good = (ifr.ifr_flags & IFF_UP) != 0;
			if (!good)
			{
				ifr.ifr_flags = (short) (ifr.ifr_flags | IFF_UP);
				good = ioctl (fd, SIOCSIFFLAGS, &ifr) == 0;
			}
		}
	}
	if (!good)
		engine_error (err, "TUN device %s cannot be brought up: %s", name,
			      strerror (errno));
	if (fd >= 0)
		close (fd);
	return good;
}

int
tun_open (const char *name, uint32_t *mtu, char *err)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	bool existed;
	int fd;

	if (*name == 0 || strlen (name) >= IFNAMSIZ)
	{
		engine_error (err,
			      "device name %s is too long or empty: a name has 1 to %u characters",
			      name, IFNAMSIZ - 1);
		return -1;
	}
	if (strpbrk (name, "/% \t\n") || strcmp (name, ".") == 0 || strcmp (name, "..") == 0)
	{
		engine_error (err, "%s cannot be the name of a device", name);
		return -1;
	}
	fd = open ("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
	{
		if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
			engine_error (err, "/dev/net/tun is missing: modprobe tun");
		else if (errno == EACCES || errno == EPERM)
			engine_error (err,
				      "no permission to create TUN device %s: run as root or with "
				      "CAP_NET_ADMIN",
				      name);
		else
			engine_error (err, "/dev/net/tun cannot be opened: %s", strerror (errno));
		return -1;
	}
	existed = if_nametoindex (name) != 0;
	memcpy (ifr.ifr_name, name, strlen (name) + 1);
	if (ioctl (fd, TUNSETIFF, &ifr) != 0)
	{
		why_not_attached (name, existed, errno, err);
		close (fd);
		return -1;
	}
	if (!bring_up (name, mtu, err))
	{
		close (fd);
		return -1;
	}
	return fd;
}
