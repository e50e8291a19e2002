/* auth_metrics.h - logins counted, by door and outcome; any thread */
#ifndef ACCESS_AUTH_METRICS_H
#define ACCESS_AUTH_METRICS_H

#include <mailshelf/account.h>

/* RC: how it ended, as auth_login() tells it. */
void auth_metrics_login(enum shelf_service service, int rc);

#endif
