/* The C client of the peer benches, on open62541: the limit that the others are measured against.
 *
 *   client URL TAGS PUBLISHING_MS
 *
 * Subscribes to T0.., X and Y as every client does; writes Y on each change of X. Prints "ready"
 * when all items are there, and "updates N" at each line on standard input; ends with it.
 */
#include <open62541/client.h>
#include <open62541/client_config_default.h>
#include <open62541/client_highlevel.h>
#include <open62541/client_subscriptions.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long updates;
static UA_UInt16 ns;
static double sum;

static void changed(UA_Client *client, UA_UInt32 sub, void *sub_context, UA_UInt32 mon,
                    void *mon_context, UA_DataValue *value) {
    (void)client, (void)sub, (void)sub_context, (void)mon, (void)mon_context;
    updates++;
    if(value->hasValue && value->value.type == &UA_TYPES[UA_TYPES_DOUBLE])
        sum += *(UA_Double *)value->value.data;
}

static void write_done(UA_Client *client, void *data, UA_UInt32 id, UA_WriteResponse *response) {
    (void)client, (void)data, (void)id, (void)response;
}

static void x_changed(UA_Client *client, UA_UInt32 sub, void *sub_context, UA_UInt32 mon,
                      void *mon_context, UA_DataValue *value) {
    changed(client, sub, sub_context, mon, mon_context, value);
    if(!value->hasValue || value->value.type != &UA_TYPES[UA_TYPES_DOUBLE])
        return;
    UA_Double y = 50.0 + *(UA_Double *)value->value.data;
    UA_Variant variant;
    UA_Variant_setScalar(&variant, &y, &UA_TYPES[UA_TYPES_DOUBLE]);
    UA_Client_writeValueAttribute_async(client, UA_NODEID_STRING(ns, "Y"), &variant,
                                        write_done, NULL, NULL);
}

int main(int argc, char **argv) {
    if(argc != 4)
        return 2;
    int tags = atoi(argv[2]);
    UA_Client *client = UA_Client_new();
    UA_ClientConfig *config = UA_Client_getConfig(client);
    UA_ClientConfig_setDefault(config);
    config->localConnectionConfig.localMaxMessageSize = 0;
    config->localConnectionConfig.remoteMaxMessageSize = 0;
    if(UA_Client_connect(client, argv[1]) != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "no connection\n");
        return 1;
    }
    UA_SessionState session = UA_SESSIONSTATE_CLOSED;
    UA_StatusCode state = UA_STATUSCODE_GOOD;
    for(int i = 0; i < 2000 && session != UA_SESSIONSTATE_ACTIVATED; i++) {
        UA_Client_run_iterate(client, 1);
        UA_Client_getState(client, NULL, &session, &state);
    }
    if(session != UA_SESSIONSTATE_ACTIVATED) {
        fprintf(stderr, "no session: state %d, %s\n", (int)session, UA_StatusCode_name(state));
        return 1;
    }
    UA_String uri = UA_STRING("urn:trimloop:bench");
    UA_StatusCode found = UA_Client_getNamespaceIndex(client, uri, &ns);
    if(found != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "no namespace: %s\n", UA_StatusCode_name(found));
        return 1;
    }
    UA_CreateSubscriptionRequest request = UA_CreateSubscriptionRequest_default();
    request.requestedPublishingInterval = atof(argv[3]);
    request.requestedMaxKeepAliveCount = 100;
    request.requestedLifetimeCount = 1000;
    UA_CreateSubscriptionResponse sub =
        UA_Client_Subscriptions_create(client, request, NULL, NULL, NULL);
    if(sub.responseHeader.serviceResult != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "subscription: %s\n",
                UA_StatusCode_name(sub.responseHeader.serviceResult));
        return 1;
    }
    char name[32];
    const int step = 1000;
    for(int from = 0; from < tags + 2; from += step) {
        int count = tags + 2 - from < step ? tags + 2 - from : step;
        UA_MonitoredItemCreateRequest *items = calloc((size_t)count, sizeof *items);
        UA_Client_DataChangeNotificationCallback *calls = calloc((size_t)count, sizeof *calls);
        for(int i = 0; i < count; i++) {
            int n = from + i;
            if(n < tags)
                snprintf(name, sizeof name, "T%d", n);
            else
                snprintf(name, sizeof name, "%s", n == tags ? "X" : "Y");
            items[i] = UA_MonitoredItemCreateRequest_default(UA_NODEID_STRING_ALLOC(ns, name));
            items[i].requestedParameters.samplingInterval = 0.0;
            items[i].requestedParameters.queueSize = 20;
            calls[i] = n == tags ? x_changed : changed;
        }
        UA_CreateMonitoredItemsRequest create;
        UA_CreateMonitoredItemsRequest_init(&create);
        create.subscriptionId = sub.subscriptionId;
        create.timestampsToReturn = UA_TIMESTAMPSTORETURN_BOTH;
        create.itemsToCreate = items;
        create.itemsToCreateSize = (size_t)count;
        UA_CreateMonitoredItemsResponse made =
            UA_Client_MonitoredItems_createDataChanges(client, create, NULL, calls, NULL);
        if(made.responseHeader.serviceResult != UA_STATUSCODE_GOOD) {
            fprintf(stderr, "items: %s\n",
                    UA_StatusCode_name(made.responseHeader.serviceResult));
            return 1;
        }
        for(size_t i = 0; i < made.resultsSize; i++)
            if(made.results[i].statusCode != UA_STATUSCODE_GOOD) {
                fprintf(stderr, "item: %s\n", UA_StatusCode_name(made.results[i].statusCode));
                return 1;
            }
        UA_CreateMonitoredItemsResponse_clear(&made);
    }
    printf("ready\n");
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    char line[64];
    for(;;) {
        if(UA_Client_run_iterate(client, 1) != UA_STATUSCODE_GOOD)
            return 1;
        ssize_t got = read(STDIN_FILENO, line, sizeof line);
        if(got == 0)
            break;
        if(got > 0) {
            printf("updates %lu\n", updates);
            fflush(stdout);
        }
    }
    UA_Client_disconnect(client);
    UA_Client_delete(client);
    return sum < 0.0;
}
