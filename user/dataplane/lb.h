/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IDs that carry a server ID, in the maps: QUIC-LB configurations (cs_lb_configs, and what
 * cs_services says of them), hosts and server IDs (cs_servers), packets by them (cs_hits).
 *
 * The maps are the truth: a configuration stays that is not in the file any more, and one that is
 * there is not changed.  A packet meets it from the moment on that its bit is in cs_services.
 */
#ifndef CS_DATAPLANE_LB_H
#define CS_DATAPLANE_LB_H

#include "dataplane/plane.h"

/*
 * lb_plan - what a service is to have
 * @is:		the service as it is loaded; one that is new is all zero
 * @service:	receives what it will be
 * @add:	receives the configurations that are to be written, bit by id
 *
 * Returns 0, -EINVAL (one of them is loaded with other settings; the format is another, or the
 * first configuration comes, and workers are registered), or -ENOENT and the like.
 */
int lb_plan(const struct plane *plane, __u32 id, const struct cs_service *is, bool has_workers,
	    const struct config_service *want, struct cs_service *service, __u8 *add,
	    struct error *error);

/* What may be wrong with one more configuration of a service that is loaded, as lb_plan() says. */
int lb_may_add(const struct cs_service *is, bool has_workers, const struct config_lb *want,
	       const char *name, struct error *error);

/* Another host, by the first octets of its server IDs. */
typedef __u8 lb_host[CS_LB_MAX_SERVER_ID];

/*
 * lb_write - write a configuration, before lb_set()
 * @other, @others:	other hosts; each as many octets as @lb->host_len
 *
 * Returns 0, -E2BIG (cs_servers is full), or another errno.
 */
int lb_write(const struct plane *plane, __u32 service, const struct config_lb *lb,
	     const lb_host *other, unsigned int others);

/*
 * Of a service of the configuration file: those of @add, and other hosts of the others that are
 * new.  Those that are not there any more lb_tidy() removes.
 */
int lb_write_configured(const struct plane *plane, __u32 service, const struct config *config,
			const struct config_service *from, __u8 add);

void lb_tidy(const struct plane *plane, __u32 service, const struct config *config,
	     const struct config_service *from);

/* A service has the configuration from now on, or no more. */
void lb_set(struct cs_service *service, const struct config_lb *lb);
void lb_unset(struct cs_service *service, __u32 id);

/* Behind lb_unset(): key, hosts, server IDs and counts of a configuration, or of CS_BY_EXTRACTOR.
 * Returns 0 or a negative errno.
 */
int lb_remove(const struct plane *plane, __u32 service, __u32 config);
/* The same of all that a service has, its format too. */
int lb_remove_all(const struct plane *plane, __u32 service);

/* Returns 0, or -ENOENT: the service has no such configuration.  Wipe it when it was used. */
int lb_find(const struct plane *plane, __u32 service, __u32 id, struct cs_lb *lb);

/* Calls @visit for each entry of cs_servers; stops at the first result that is not 0. */
int lb_each_server(const struct plane *plane,
		   int (*visit)(const struct cs_server_key *, const struct cs_server *, void *),
		   void *arg);

/* Packets of all CPUs, by configuration or CS_BY_EXTRACTOR.  Returns 0 or a negative errno. */
int lb_hits(const struct plane *plane, __u32 service, __u32 config, struct cs_hits *sum);

#endif
