// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cidsteer/cidsteer.h"
#include "daemon/admit.h"

static int option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, level, name, &value, &len) ? 0 : value;
}

static int check_kind(int fd, struct error *error)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int family;

	/* Not fstat(2): the file system of what a peer sends may never answer. */
	len = sizeof(family);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len))
		return error_set(error, -EINVAL, "a descriptor is not a socket");
	len = sizeof(peer);
	if ((family != AF_INET && family != AF_INET6) ||
	    option(fd, SOL_SOCKET, SO_TYPE) != SOCK_DGRAM ||
	    option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_UDP)
		return error_set(error, -EINVAL, "a socket is not a UDP socket");
	if (!option(fd, SOL_SOCKET, SO_REUSEPORT))
		return error_set(error, -EINVAL,
				 "a socket has no SO_REUSEPORT: set it before bind()");
	if (option(fd, SOL_SOCKET, SO_BINDTOIFINDEX))
		return error_set(error, -EINVAL,
				 "a socket is bound to a device: that is another group than the "
				 "listener's");
	if (!getpeername(fd, (struct sockaddr *)&peer, &len))
		return error_set(error, -EINVAL, "a socket is connected: pass the listening ones");
	return 0;
}

static struct listener *find_listener(struct workers *workers, __u32 service,
				      const struct cs_addr *addr)
{
	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		struct listener *listener = &workers->listener[i];

		if (listener->used && listener->value.service == service &&
		    !memcmp(&listener->addr, addr, sizeof(*addr)))
			return listener;
	}
	return NULL;
}

static int read_address(int fd, struct cs_addr *addr, struct error *error)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);

	if (getsockname(fd, (struct sockaddr *)&bound, &len) ||
	    address_from_socket((struct sockaddr *)&bound, addr) || !addr->port)
		return error_set(error, -EINVAL, "a socket is not bound to an address and port");
	return 0;
}

static int check_owner(const struct service *service, int fd, struct error *error)
{
	struct stat status;

	if (fstat(fd, &status))
		return error_set(error, -errno, "fstat: %s", strerror(errno));
	if (status.st_uid == 0 || status.st_uid == service->value.uid)
		return 0;
	return error_set(error, -EPERM,
			 "a socket was created by uid %u: only root and the user of service \"%s\" "
			 "(uid %u) may",
			 status.st_uid, service->value.name, service->value.uid);
}

__u16 service_netns(const struct workers *workers, __u32 service)
{
	for (int i = 0; i < CS_MAX_LISTENERS; i++) {
		const struct listener *listener = &workers->listener[i];

		if (listener->used && listener->value.service == service)
			return listener->addr.netns;
	}
	return 0;
}

/* @elsewhere: receives the cookie of its namespace, if that is another and may be; else 0. */
static int check_namespace(const struct workers *workers, const struct service *service,
			   __u16 netns, int fd, __u64 *elsewhere, struct error *error)
{
	const struct plane *plane = workers->plane;
	__u64 cookie = 0;
	socklen_t len = sizeof(cookie);
	bool is_known = netns < CS_MAX_NETNS &&
			!getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);

	*elsewhere = 0;
	if (is_known && cookie == plane->abi.netns_cookie[netns])
		return 0;
	if (is_known && service->behind_device) {
		*elsewhere = cookie;
		return 0;
	}
	if (netns && netns < CS_MAX_NETNS)
		return error_set(error, -EINVAL,
				 "a socket is in another network namespace than the service, which "
				 "is in %s as that was when the configuration was read",
				 plane->netns[netns]);
	return error_set(error, -EINVAL,
			 "a socket is in another network namespace than the daemon");
}

static int check_all(struct workers *workers, __u32 id, int fd, struct listener **listener,
		     __u64 *elsewhere, struct error *error)
{
	const struct service *service = &workers->service[id];
	struct cs_addr addr = {};
	char text[ADDRESS_TEXT];
	int err = check_kind(fd, error);

	if (!err)
		err = read_address(fd, &addr, error);
	addr.netns = service_netns(workers, id);
	if (!err)
		err = check_owner(service, fd, error);
	if (!err)
		err = check_namespace(workers, service, addr.netns, fd, elsewhere, error);
	if (err)
		return err;
	address_print(&addr, text);
	*listener = find_listener(workers, id, &addr);
	if (!*listener)
		return error_set(error, -EINVAL,
				 "a socket is bound to %s, where service \"%s\" does not listen",
				 text, service->value.name);
	if ((*listener)->dual && option(fd, IPPROTO_IPV6, IPV6_V6ONLY))
		return error_set(error, -EINVAL,
				 "the socket on %s is IPV6_V6ONLY: clear that, or let the service "
				 "listen on 0.0.0.0 too",
				 text);
	return 0;
}

__u32 admit_notes(int fd)
{
	return option(fd, IPPROTO_UDP, UDP_GRO) ? CIDSTEER_NOTE_GRO : 0;
}

struct listener *admit_socket(struct workers *workers, __u32 service, int fd, __u32 *notes,
			      __u64 *elsewhere, int *err, struct error *error)
{
	struct listener *listener = NULL;

	*err = check_all(workers, service, fd, &listener, elsewhere, error);
	if (*err)
		return NULL;
	*notes |= admit_notes(fd);
	return listener;
}
