<?php
// The shards that Predis chooses for keys: {"client", "urls", "keys"} in, their numbers out, both as JSON.

require 'Predis/autoload.php';

$asked = json_decode(file_get_contents('php://stdin'), true);
$ketama = $asked['client'] === 'predis-ketama';
$strategy = new Predis\Cluster\PredisStrategy($ketama ? new Predis\Cluster\Distributor\KetamaRing() : null);
$cluster = new Predis\Connection\Aggregate\PredisCluster($strategy);
$factory = new Predis\Connection\Factory();
$shards = [];
foreach ($asked['urls'] as $url) {
    $shards[] = $shard = $factory->create(str_replace('redis://', 'tcp://', $url));
    $cluster->add($shard);
}
echo json_encode(array_map(fn ($key) => array_search($cluster->getConnectionByKey($key), $shards, true), $asked['keys']));
