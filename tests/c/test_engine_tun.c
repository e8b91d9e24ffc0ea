/* SPDX-License-Identifier: Apache-2.0
 * Real devices: kernel UDP through the NAT, between two network namespaces, and what goes wrong
 * with devices. Everything happens in namespaces of this process; without the permission to make
 * them, or without TUN, the tests are skipped. */
#define _GNU_SOURCE 1
#include "engine_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool usable;

#define NEED_TUN()               \
	do                       \
	{                        \
		if (!usable)     \
			skip (); \
	} while (0)

static int
sh (const char *format, ...)
{
	char command[256];
	va_list args;
	va_start (args, format);
	vsnprintf (command, sizeof command, format, args);
	va_end (args);
	return system (command);
}

static mvt_engine_t *
with_devices (const char *inside, const char *outside, int *code, char *err)
{
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_config_t config = fx_config (&policy, 2, 2);
	config.stepped = 0;
	config.tun_inside = inside;
	config.tun_outside = outside;
	return mvt_engine_new (&config, code, err);
}

/* ---- the other end: a process in a namespace of its own ---- */

static struct sockaddr_in
address (const char *ip, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (port) };
	inet_pton (AF_INET, ip, &a.sin_addr);
	return a;
}

/* Answers every datagram with the address that it came from. */
static void
server (int ready, int go)
{
	struct sockaddr_in here = address ("203.0.113.5", 53), peer;
	socklen_t len = sizeof peer;
	char byte = 0, data[2000];
	int fd;

	if (unshare (CLONE_NEWNET) || write (ready, &byte, 1) != 1 || read (go, &byte, 1) != 1)
		_exit (1);
	if (sh ("ip link set lo up; ip link set hmvt-to up && ip addr add 203.0.113.5/24 dev "
		"hmvt-to && "
		"ip route add 198.51.100.0/24 dev hmvt-to"))
		_exit (2);
	fd = socket (AF_INET, SOCK_DGRAM, 0);
	if (bind (fd, (struct sockaddr *) &here, sizeof here) || write (ready, &byte, 1) != 1)
		_exit (3);
	for (;;)
		if (recvfrom (fd, data, sizeof data, 0, (struct sockaddr *) &peer, &len) > 0)
			sendto (fd, &peer, sizeof peer, 0, (struct sockaddr *) &peer, len);
}

static void
kernel_packets_go_there_and_back (void **state)
{
	(void) state;
	NEED_TUN ();
	char err[MVT_ENGINE_ERR_LEN], byte = 0;
	int code, ready[2], go[2], status;
	pid_t pid;
	mvt_io_snapshot_t io;
	uint32_t answers = 0;

	assert_int_equal (pipe (ready) | pipe (go), 0);
	pid = fork ();
	if (pid == 0)
		server (ready[1], go[0]);
	assert_int_equal (read (ready[0], &byte, 1), 1);
	mvt_engine_t *e = with_devices ("hmvt-ti", "hmvt-to", &code, err);
	if (!e)
		fail_msg ("%s", err);
	assert_int_equal (mvt_engine_start (e), 0);
	/* the device moves away while it is open */
	assert_int_equal (sh ("ip link set hmvt-to netns %d", (int) pid), 0);
	assert_int_equal (write (go[1], &byte, 1), 1);
	assert_int_equal (read (ready[0], &byte, 1), 1);
	assert_int_equal (sh ("ip addr add 10.9.0.1/24 dev hmvt-ti && "
			      "ip route add 203.0.113.0/24 dev hmvt-ti"),
			  0);
	for (uint16_t i = 0; i < 50; i++)
	{
		struct sockaddr_in from = address ("10.9.0.1", (uint16_t) (4000 + i));
		struct sockaddr_in to = address ("203.0.113.5", 53), seen;
		struct pollfd wait = { .events = POLLIN };

		wait.fd = socket (AF_INET, SOCK_DGRAM, 0);
		assert_int_equal (bind (wait.fd, (struct sockaddr *) &from, sizeof from), 0);
		assert_int_equal (
			sendto (wait.fd, "hello", 5, 0, (struct sockaddr *) &to, sizeof to), 5);
		if (poll (&wait, 1, 5000) == 1 &&
		    recv (wait.fd, &seen, sizeof seen, 0) == sizeof seen)
		{
			answers++;
			assert_int_equal (ntohl (seen.sin_addr.s_addr) & ~1u, FX_POOL);
		}
		close (wait.fd);
	}
	assert_int_equal (answers, 50);
	assert_int_equal (fx_sum (e, "mappings"), 50);
	mvt_engine_io_snapshot (e, &io);
	assert_int_equal (io.packets[MVT_IN2OUT] - io.not_ipv4[MVT_IN2OUT], 50);
	assert_int_equal (io.packets[MVT_OUT2IN] - io.not_ipv4[MVT_OUT2IN], 50);
	assert_int_equal (io.errors[0] + io.errors[1] + io.failed[0] + io.failed[1], 0);
	assert_int_equal (fx_snapshot (e, 0).io_errors + fx_snapshot (e, 1).io_errors, 0);
	mvt_engine_free (e);
	kill (pid, SIGKILL);
	waitpid (pid, &status, 0);
	/* what the engine made, it took away */
	assert_int_equal (if_nametoindex ("hmvt-ti"), 0);
}

static void
refused (const char *inside, const char *words)
{
	char err[MVT_ENGINE_ERR_LEN];
	int code = 0;

	assert_null (with_devices (inside, "hmvt-tb", &code, err));
	assert_true (code < 0);
	if (!strstr (err, words))
		fail_msg ("'%s' does not say '%s'", err, words);
	assert_int_equal (if_nametoindex ("hmvt-tb"), 0);
}

static void
bad_devices_are_told (void **state)
{
	(void) state;
	NEED_TUN ();
	char err[MVT_ENGINE_ERR_LEN];
	int code, status;
	mvt_engine_t *e;
	pid_t pid;

	refused ("a-name-of-16-chr", "1 to 15 characters");
	refused ("", "1 to 15 characters");
	refused ("a/b", "cannot be the name");
	refused ("lo", "exists but is no");
	e = with_devices ("hmvt-ta", "hmvt-tc", &code, err);
	assert_non_null (e);
	refused ("hmvt-ta", "in use by another process");
	mvt_engine_free (e);

	pid = fork ();
	if (pid == 0)
	{
		if (setgid (65534) || setuid (65534))
			_exit (2);
		e = with_devices ("hmvt-ta", "hmvt-tc", &code, err);
		_exit (e == NULL && strstr (err,
					    "no permission to create TUN device hmvt-ta: run as "
					    "root or with CAP_NET_ADMIN")
			       ? 0
			       : 1);
	}
	waitpid (pid, &status, 0);
	assert_int_equal (status, 0);
}

static void
persistent_devices_stay (void **state)
{
	(void) state;
	NEED_TUN ();
	char err[MVT_ENGINE_ERR_LEN];
	int code;

	if (sh ("ip tuntap add dev hmvt-tp mode tun && ip link set hmvt-tp mtu 1400"))
		skip ();
	mvt_engine_t *e = with_devices ("hmvt-tp", "hmvt-tc", &code, err);
	if (!e)
		fail_msg ("%s", err);
	assert_int_equal (sh ("ip link show hmvt-tp | grep -q 'mtu 1400'"), 0);
	mvt_engine_free (e);
	assert_int_not_equal (if_nametoindex ("hmvt-tp"), 0);
	assert_int_equal (if_nametoindex ("hmvt-tc"), 0);
	sh ("ip tuntap del dev hmvt-tp mode tun");
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (kernel_packets_go_there_and_back),
		cmocka_unit_test (bad_devices_are_told),
		cmocka_unit_test (persistent_devices_stay),
	};
	/* a namespace of our own: nothing here touches the machine's devices */
	usable = access ("/dev/net/tun", R_OK | W_OK) == 0 && unshare (CLONE_NEWNET) == 0 &&
		 sh ("ip link set lo up") == 0;
	if (!usable)
		fprintf (stderr, "no TUN or no permission for network namespaces: skipped\n");
	return cmocka_run_group_tests (tests, NULL, NULL);
}
